/**
 * Activation checkpointing. The first run of a function records its graph as usual, but what the graph would keep of the tensors
 * made inside is only noted down. When backward first asks for one of them, the function runs again and all are kept.
 */
import type { Operand } from "../backend/backend.ts";
import { AutogradError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { formatShape, type Shape, sameShape } from "../core/shape.ts";
import type { Claim } from "./ledger.ts";
import { KeptTensor, type Saved, type Saver, save, savingWith } from "./saved.ts";
import { enableGrad, gradEnabled, runInScope } from "./scope.ts";
import { storageOrder } from "./storage.ts";
import { Tensor } from "./tensor.ts";

let innermost: Recomputation | null = null;
let isSecondRun = false;

/** Whether a function runs for the second time, during a backward: what forward passes count or average must not move again. */
export function isRecomputing(): boolean {
  return isSecondRun;
}

/**
 * What `key` stood for in the first run of the function that is running under `recompute`; in that run, and outside of `recompute`,
 * `value`. A second run must take the same turns, also when modes or buffers have changed in between.
 *
 * @param keep makes of `value` what later changes do not reach.
 */
export function asInFirstRun<T>(key: object, value: T, keep: (value: T) => T = (same) => same): T {
  return innermost === null ? value : innermost.recall(key, value, keep);
}

/** Runs `fn(...args)`, keeping `args` for backward instead of what is computed on the way. See `nn.recompute`. */
export function recompute<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  args: Args,
): Result {
  if (!gradEnabled()) return runInScope("recompute", () => fn(...args));
  return new Recomputation(fn, args).firstRun(args);
}

/** The memory behind a promise, and the inputs of its run, which the last promise lets go. */
class PromisedMemory implements Claim {
  kept: KeptTensor | null = null;
  isReleased = false;
  readonly #inputs: SharedClaims;

  constructor(inputs: SharedClaims) {
    this.#inputs = inputs;
    inputs.waiting++;
  }

  release(): void {
    this.isReleased = true;
    this.kept?.claim.release();
    this.kept = null;
    this.#inputs.release();
  }
}

/** Claims that several wait for. */
class SharedClaims implements Claim {
  waiting = 1;
  readonly #claims: Claim[] = [];

  add(claim: Claim): void {
    this.#claims.push(claim);
  }

  /** One less waits; all is let go with the last. */
  release(): void {
    if (--this.waiting === 0) for (const claim of this.#claims) claim.release();
  }
}

/** A tensor that the graph needs and that a second run will make. */
class Promised implements Saved {
  readonly shape: Shape;
  readonly claim: PromisedMemory;
  readonly #run: Recomputation;

  constructor(run: Recomputation, shape: Shape, inputs: SharedClaims) {
    this.#run = run;
    this.shape = shape;
    this.claim = new PromisedMemory(inputs);
  }

  operand(): Operand {
    return this.#recovered().operand();
  }

  tensor(): Tensor {
    return this.#recovered().tensor();
  }

  check(): void {
    this.#run.checkInputs();
  }

  /** Takes what the second run made in this place, unless nobody waits for it any more. */
  keep(tensor: Tensor, role: string): void {
    const { claim } = this;
    if (!claim.isReleased && claim.kept === null) claim.kept = new KeptTensor(tensor, role);
  }

  #recovered(): KeptTensor {
    if (this.claim.kept === null) this.#run.secondRun();
    return this.claim.kept ?? rejectOtherRun("as many tensors as in the first run", "fewer");
  }
}

/** Stands for what the graph of the second run would save: nobody walks that graph. */
class Unneeded implements Saved {
  readonly shape: Shape;
  readonly claim: Claim = { release() {} };

  constructor(shape: Shape) {
    this.shape = shape;
  }

  operand(): never {
    return this.#reject();
  }

  tensor(): never {
    return this.#reject();
  }

  check(): void {
    this.#reject();
  }

  #reject(): never {
    throw new AutogradError({
      op: "backward",
      expected: "a tensor of the first run of a recomputed function",
      actual: "one made while backward ran it again",
      hint: "return what is needed from the function instead of storing it outside",
    });
  }
}

/** One call of `recompute`. */
class Recomputation {
  readonly #fn: (...args: never[]) => unknown;
  /** Gives the arguments again; tensors as handles of the running scope. */
  readonly #arguments: () => readonly unknown[];
  readonly #inputs: Saved[] = [];
  /** What the graph saves, in order; null where it was kept at once. */
  readonly #promises: (Promised | null)[] = [];
  readonly #generatorState = defaultGenerator.state();
  /** Shared with the calls inside: they are other objects in the second run. */
  readonly #notes: Map<object, unknown>;
  /** Waited for by every promise, and by the first run itself. */
  readonly #claims = new SharedClaims();

  constructor(fn: (...args: never[]) => unknown, args: readonly unknown[]) {
    this.#fn = fn;
    this.#notes = innermost === null ? new Map() : innermost.#notes;
    const recipes = args.map((arg) => this.#recipe(arg));
    this.#arguments = () => recipes.map((make) => make());
  }

  firstRun<Result>(args: readonly unknown[]): Result {
    const before = storageOrder();
    const saver: Saver = (tensor, role) => {
      // Older memory is an argument's or a parameter's, and there in any case.
      const isOlder = tensor.holding.storage.order < before;
      const promise = isOlder ? null : new Promised(this, tensor.shape, this.#claims);
      this.#promises.push(promise);
      if (promise === null) return new KeptTensor(tensor, role);
      return promise;
    };
    try {
      return this.#run(saver, args) as Result;
    } finally {
      this.#claims.release();
    }
  }

  secondRun(): void {
    let next = 0;
    const saver: Saver = (tensor, role) => {
      const promise = this.#promises[next++];
      if (promise === undefined) rejectOtherRun(`${this.#promises.length} tensors`, "more");
      if (promise !== null && !sameShape(promise.shape, tensor.shape)) {
        rejectOtherRun(formatShape(promise.shape), formatShape(tensor.shape));
      }
      promise?.keep(tensor, role);
      return new Unneeded(tensor.shape);
    };
    const now = defaultGenerator.state();
    const wasSecondRun = isSecondRun;
    defaultGenerator.restore(this.#generatorState);
    isSecondRun = true;
    try {
      runInScope("recompute", () => void enableGrad(() => this.#run(saver, this.#arguments())));
    } finally {
      isSecondRun = wasSecondRun;
      defaultGenerator.restore(now);
    }
  }

  recall<T>(key: object, value: T, keep: (value: T) => T): T {
    if (isSecondRun && this.#notes.has(key)) return this.#notes.get(key) as T;
    if (!this.#notes.has(key)) this.#notes.set(key, keep(value));
    return value;
  }

  checkInputs(): void {
    for (const input of this.#inputs) input.check("recompute");
  }

  #run(saver: Saver, args: readonly unknown[]): unknown {
    const outer = innermost;
    innermost = this;
    try {
      return runInScope("recompute", () =>
        savingWith(saver, () => Reflect.apply(this.#fn, undefined, args)),
      );
    } finally {
      innermost = outer;
    }
  }

  /** How to make an argument again: tensors, also inside arrays, are saved; everything else is passed as it is. */
  #recipe(arg: unknown): () => unknown {
    if (Array.isArray(arg)) {
      const items = arg.map((item) => this.#recipe(item));
      return () => items.map((make) => make());
    }
    if (!(arg instanceof Tensor)) return () => arg;
    const saved = save(arg, "argument");
    const { requiresGrad } = arg;
    this.#inputs.push(saved);
    this.#claims.add(saved.claim);
    return () => {
      const tensor = saved.tensor();
      tensor.requiresGrad = requiresGrad;
      return tensor;
    };
  }
}

function rejectOtherRun(expected: string, actual: string): never {
  throw new AutogradError({
    op: "recompute",
    expected: `a function that computes the same when it runs again: ${expected}`,
    actual,
    hint: "it must depend on its arguments, on parameters and on the seeded generator alone",
  });
}
