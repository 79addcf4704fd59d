/** Memory that a graph keeps until backward has used it. */

/** A hold on memory, to be let go once. */
export interface Claim {
  release(): void;
}

/**
 * The part of a graph node that outlives everybody who could walk it: how many still need it, what it claims, and the ledgers below.
 * The collector's net holds ledgers and no nodes, because a node's rule is a closure that may reach the very tensor whose end the net
 * is waiting for.
 */
export class Ledger {
  isReleased = false;
  #claims: readonly Claim[];
  #below: readonly Ledger[];
  /** Live handles of the output, and nodes that have this one as an input. */
  #references = 1;

  constructor(claims: readonly Claim[], below: readonly Ledger[]) {
    this.#claims = claims;
    this.#below = below;
    for (const ledger of below) ledger.retain();
  }

  retain(): void {
    this.#references++;
  }

  /** One handle or successor less; the last one gives back what is claimed here and below. */
  release(): void {
    // A loop and not recursion: graphs are as deep as a training loop is long when nobody calls backward.
    const pending: Ledger[] = [this];
    for (let ledger = pending.pop(); ledger !== undefined; ledger = pending.pop()) {
      if (--ledger.#references === 0) pending.push(...ledger.#dissolve());
    }
  }

  /** Gives back what is claimed, whoever still refers to this ledger. */
  releaseClaims(): void {
    for (const ledger of this.#dissolve()) ledger.release();
  }

  #dissolve(): readonly Ledger[] {
    const below = this.#below;
    for (const claim of this.#claims) claim.release();
    this.#claims = [];
    this.#below = [];
    this.isReleased = true;
    return below;
  }
}
