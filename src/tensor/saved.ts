import type { Operand } from "../backend/backend.ts";
import { AutogradError } from "../core/errors.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import type { Claim } from "./ledger.ts";
import type { Storage } from "./storage.ts";
import { operandOf, Tensor } from "./tensor.ts";

/** A tensor that a backward rule will read. */
export interface Saved {
  readonly shape: Shape;
  operand(): Operand;
  /** A handle on the saved values, for rules written in terms of other operations. */
  tensor(): Tensor;
  /** Throws AutogradError when the values are not those of the forward pass of `op` any more. */
  check(op: string): void;
  /** What is to be let go when no rule will read it. It must not reach tensors or functions of users: see `Ledger`. */
  readonly claim: Claim;
}

/** Memory kept for a backward rule, with the version it had. */
export class KeptTensor implements Saved {
  readonly shape: Shape;
  readonly #storage: Storage;
  readonly #operand: Operand;
  readonly #version: number;
  readonly #role: string;

  constructor(tensor: Tensor, role: string) {
    this.#operand = operandOf(tensor);
    this.#storage = tensor.holding.storage.retain();
    this.shape = tensor.shape;
    this.#version = this.#storage.version;
    this.#role = role;
  }

  operand(): Operand {
    return this.#operand;
  }

  tensor(): Tensor {
    const { offset, dtype } = this.#operand;
    return new Tensor({ storage: this.#storage.retain(), offset, shape: this.shape, dtype });
  }

  check(op: string): void {
    if (this.#storage.version === this.#version) return;
    throw new AutogradError({
      op: "backward",
      expected: `the ${this.#role} of ${op}, shape ${formatShape(this.shape)}, as it was in the forward pass`,
      actual: `a tensor since overwritten by ${this.#storage.writer}`,
      hint: "call backward() before that write, or run the forward pass again after it",
    });
  }

  get claim(): Claim {
    return this.#storage;
  }
}

export type Saver = (tensor: Tensor, role: string) => Saved;

const keepMemory: Saver = (tensor, role) => new KeptTensor(tensor, role);
let saver = keepMemory;

/** Keeps `tensor` for a backward rule. `role` names it in errors: "input", "weight", "output". */
export function save(tensor: Tensor, role: string): Saved {
  return saver(tensor, role);
}

/** As `save`, for what is small and may be another when it is computed again: no second run replaces it. */
export function saveValues(tensor: Tensor, role: string): Saved {
  return keepMemory(tensor, role);
}

/** Runs `fn` with `other` in place of what `save` does, or without an argument with what it does by default. */
export function savingWith<T>(other: Saver | null, fn: () => T): T {
  const before = saver;
  saver = other ?? keepMemory;
  try {
    return fn();
  } finally {
    saver = before;
  }
}
