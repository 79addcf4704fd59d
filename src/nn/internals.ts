/** What the library keeps about a module beside the module's own properties. */
import type { DType } from "../core/dtype.ts";
import type { ForwardHook, ForwardPreHook } from "./hooks.ts";
import type { LoadHook } from "./load-state.ts";

/** Throws TypeError for what a registered property does not take. */
export type SlotCheck = (value: unknown) => void;

/** The property that holds it: a symbol, so that walks over properties pass it by and `clone` can find it. */
export const internals = Symbol("evenkeel.internals");

export class Internals {
  /** Names of properties that are buffers. */
  readonly bufferNames = new Set<string>();
  /** Names of buffers that no state dict holds. */
  readonly transientNames = new Set<string>();
  /** What registered properties refuse, by name. */
  readonly checks = new Map<string, SlotCheck>();
  /** What a module does to a state dict before it is matched with its own state, by purpose. */
  readonly loadHooks = new Map<string, LoadHook>();
  /** Properties that weight norm computes, with what they refused before it. */
  readonly weightNorms = new Map<string, SlotCheck | null>();
  readonly preHooks = new Set<ForwardPreHook>();
  readonly hooks = new Set<ForwardHook>();
  /** What floating inputs of a call are converted to first; see `networkToHalf`. */
  inputDType: DType | null = null;

  copy(): Internals {
    const copy = new Internals();
    for (const name of this.bufferNames) copy.bufferNames.add(name);
    for (const name of this.transientNames) copy.transientNames.add(name);
    for (const [name, check] of this.checks) copy.checks.set(name, check);
    for (const [purpose, hook] of this.loadHooks) copy.loadHooks.set(purpose, hook);
    for (const [name, check] of this.weightNorms) copy.weightNorms.set(name, check);
    for (const hook of this.preHooks) copy.preHooks.add(hook);
    for (const hook of this.hooks) copy.hooks.add(hook);
    copy.inputDType = this.inputDType;
    return copy;
  }
}
