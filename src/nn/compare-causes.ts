/** Which of the things that tell two layers apart make their outputs differ: each is tried, none is guessed. */
import { defaultGenerator } from "../core/random.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type CauseKind, factsOf, formatNumber } from "./compare-facts.ts";
import { type Call, hostValues, mapTensors, withoutTrace } from "./compare-run.ts";
import { differenceOfAll } from "./difference.ts";
import type { Module } from "./module.ts";

/** One thing in which the layers at the parting differ, and what it does to their output. */
export interface Cause {
  /** What it is. */
  readonly what: CauseKind;
  /** In words: "A eval, B train". */
  readonly detail: string;
  /**
   * Part of the difference, from 0 to 1, that is gone when B's layer runs with A's value of this alone, on A's input; null where that cannot be
   * tried. For "input": when it runs on A's input and is otherwise as it is. Several causes can explain the same part.
   */
  readonly explains: number | null;
  /** What to do about it. */
  readonly remedy: string;
}

/** The least that counts as a part: less is rounding of the measurement. */
const leastPart = 1e-3;

/** What is said of a model that differs from itself. */
export function randomCause(): Cause {
  return cause("random", "A differs from itself when it runs again", null);
}

/** Causes of the difference between two calls, the one that explains most first. */
export function causesOf(a: Call, b: Call, inputOrigin: string): Cause[] {
  const facts = factsOf(a.module, b.module);
  const trial = new Trial(a, b);
  const own = trial.distance([]);
  const causes = inputCause([a, b], inputOrigin, partGone(trial.whole, own));
  for (const { what, detail, properties } of facts) {
    if (what === "dtype") causes.push(cause(what, detail, null));
    // A's layer in the place of B's leaves nothing.
    else if (what === "kind") causes.push(cause(what, detail, partGone(own, 0)));
    else causes.push(cause(what, detail, partGone(own, trial.distance(properties))));
  }
  const all = facts.flatMap(({ properties }) => properties);
  const isOpen = own > 0 && !facts.some(({ properties }) => properties.length === 0);
  if (isOpen && partGone(own, trial.distance(all)) < 1 - leastPart) {
    causes.push(cause("code", "nothing that the layers hold: code, hooks or closures", null));
  }
  return causes.sort((one, other) => (other.explains ?? -1) - (one.explains ?? -1));
}

function inputCause([a, b]: readonly [Call, Call], origin: string, explains: number): Cause[] {
  const { largest, relative, remark } = differenceOfAll(hostValues(a.inputs), hostValues(b.inputs));
  if (largest === 0) return [];
  const size = remark || `by up to ${formatNumber(relative)} of its scale`;
  return [cause("input", `differs ${origin}, ${size}`, explains)];
}

/** Runs B's layer on A's input, with values of A's layer. */
class Trial {
  readonly #a: Call;
  readonly #b: Call;
  /** The difference to be explained. */
  readonly whole: number;

  constructor(a: Call, b: Call) {
    this.#a = a;
    this.#b = b;
    this.whole = differenceOfAll(hostValues(a.output), hostValues(b.output)).rms;
  }

  /** How far the output is from A's when B's layer has A's values of `properties`; infinite when it cannot run so. */
  distance(properties: readonly string[]): number {
    const [from, into] = [this.#a.module, this.#b.module];
    try {
      // A's too: in training, B's layer would move statistics that it was given.
      return withoutTrace(from, () =>
        withoutTrace(into, () => {
          const restore = swapIn(properties, from, into);
          try {
            defaultGenerator.restore(this.#a.generatorState);
            const output = into.invoke(this.#inputs());
            return differenceOfAll(hostValues(this.#a.output), hostValues(output)).rms;
          } finally {
            restore();
          }
        }),
      );
    } catch {
      return Infinity; // other shapes or dtypes: the values of one do not fit the other
    }
  }

  /** A's inputs where B's layer takes them. */
  #inputs(): readonly unknown[] {
    const like: Tensor[] = [];
    mapTensors(this.#b.inputs, (tensor) => {
      like.push(tensor);
      return tensor;
    });
    return this.#a.inputs.map((input) =>
      mapTensors(input, (tensor) => {
        const target = like.shift() ?? tensor;
        return tensor.to(target.device).to(target.dtype);
      }),
    );
  }
}

/** Gives `into` the values that `from` has; returns what undoes it. */
function swapIn(properties: readonly string[], from: Module, into: Module): () => void {
  const before = properties.map((name) => [name, Reflect.get(into, name)] as const);
  for (const name of properties) Reflect.set(into, name, Reflect.get(from, name));
  return () => {
    for (const [name, value] of before) Reflect.set(into, name, value);
  };
}

function partGone(before: number, after: number): number {
  if (before === 0 || after === before) return 0;
  if (after === 0) return 1;
  if (before === Infinity) return Number.isFinite(after) ? 1 : 0;
  const part = Math.max(0, 1 - after / before);
  return part < leastPart ? 0 : part;
}

const remedies: Readonly<Record<CauseKind, string>> = {
  mode: "call train() or eval() alike on both models",
  eps: "make the layer with the other model's eps; no file of weights holds it",
  parameters:
    "load the same weights into both; look at what loadStateDict returns when it is not strict",
  statistics:
    "load the same running statistics into both; a layer that lacks them needs trackRunningStats: true",
  option: "make the layer with the same options",
  kind: "use the same layer in both models",
  input: "look at what happens to the data before this layer",
  random: "make the model repeatable first: it draws numbers that manualSeed does not seed",
  dtype: "run both in one dtype on one device, or set a tolerance",
  code: "compare the code of both models by eye; hooks count",
};

function cause(what: CauseKind, detail: string, explains: number | null): Cause {
  return { what, detail, explains, remedy: remedies[what] };
}
