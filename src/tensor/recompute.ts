/**
 * Activation checkpointing. The first run of a function records its graph as usual, but what the graph would keep of the tensors
 * made inside is only noted down. When backward first asks for one of them, the function runs again and all are kept.
 */
import type { Operand } from "../backend/backend.ts";
import { AutogradError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { formatShape, type Shape, sameShape } from "../core/shape.ts";
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

/** A tensor that the graph needs and that a second run will make. */
class Promised implements Saved {
  readonly shape: Shape;
  readonly #run: Recomputation;
  #kept: KeptTensor | null = null;
  #isReleased = false;

  constructor(run: Recomputation, shape: Shape) {
    this.#run = run;
    this.shape = shape;
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

  release(): void {
    this.#isReleased = true;
    this.#kept?.release();
    this.#kept = null;
    this.#run.forget();
  }

  /** Takes what the second run made in this place, unless nobody waits for it any more. */
  keep(tensor: Tensor, role: string): void {
    if (!this.#isReleased && this.#kept === null) this.#kept = new KeptTensor(tensor, role);
  }

  #recovered(): KeptTensor {
    if (this.#kept === null) this.#run.secondRun();
    if (this.#kept !== null) return this.#kept;
    return rejectOtherRun("as many tensors as in the first run", "fewer");
  }
}

/** Stands for what the graph of the second run would save: nobody walks that graph. */
class Unneeded implements Saved {
  readonly shape: Shape;

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

  release(): void {
    // It holds nothing.
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
  /** Promises not yet released, and one for the first run itself. */
  #waiting = 1;

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
      const promise = isOlder ? null : new Promised(this, tensor.shape);
      this.#promises.push(promise);
      if (promise === null) return new KeptTensor(tensor, role);
      this.#waiting++;
      return promise;
    };
    try {
      return this.#run(saver, args) as Result;
    } finally {
      this.forget();
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

  /** One less waits; the arguments are let go with the last. */
  forget(): void {
    if (--this.#waiting > 0) return;
    for (const input of this.#inputs) input.release();
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
