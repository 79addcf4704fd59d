/** Registered properties: parameters and buffers that may be null and take nothing else. */
import { Tensor } from "../tensor/tensor.ts";
import { Internals, internals } from "./internals.ts";
import { Parameter } from "./parameter.ts";

/** What a registered property may hold: a tensor, a counter, or nothing. */
export type SlotValue = Tensor | number | null;

/** One entry of a module's own state. */
export interface StateSlot {
  /** Name of the property: "runningMean". */
  readonly name: string;
  readonly kind: "parameter" | "buffer";
  readonly value: Parameter | Tensor | number;
  /** Part of state dicts. */
  readonly isPersistent: boolean;
}

/**
 * An enumerable property that checks what is assigned, and takes tensors out of the scope they were made in. The check is kept with
 * the module's internals.
 */
export function defineSlot(
  module: object,
  name: string,
  initial: SlotValue,
  check: (value: unknown) => void,
): void {
  const known: unknown = Reflect.get(module, internals);
  if (known instanceof Internals) known.checks.set(name, check);
  const keep = (value: SlotValue) => (value instanceof Tensor ? value.keep() : value);
  check(initial);
  let current = keep(initial);
  Object.defineProperty(module, name, {
    enumerable: true,
    configurable: true,
    get: () => current,
    set(value: SlotValue) {
      check(value);
      current = keep(value);
    },
  });
}

/** What a slot takes, beside null, and how its error says so. */
const kinds = {
  buffer: { holds: (value: unknown) => value instanceof Tensor, name: "a tensor", cure: "" },
  counter: { holds: (value: unknown) => typeof value === "number", name: "a number", cure: "" },
  parameter: {
    holds: (value: unknown) => value instanceof Parameter,
    name: "an nn.Parameter",
    cure: "; wrap it: new nn.Parameter(tensor)",
  },
};

/** The check for `defineSlot`: a value of this kind, or null. Throws TypeError. */
export function slotCheck(name: string, kind: keyof typeof kinds): (value: unknown) => void {
  const { holds, name: expected, cure } = kinds[kind];
  return (value) => {
    if (value === null || holds(value)) return;
    throw new TypeError(`${name}: expected ${expected} or null, got ${describe(value)}${cure}`);
  };
}

/** Throws TypeError for an option that is no number. */
export function checkNumber(kind: string, expected: string, value: unknown): void {
  if (typeof value === "number") return;
  throw new TypeError(`${kind}: expected ${expected}, got ${describe(value)}`);
}

/** A value in an error message. */
export function describe(value: unknown): string {
  if (value instanceof Tensor) return "a plain tensor";
  return value === undefined ? "undefined" : `${typeof value} ${JSON.stringify(value)}`;
}
