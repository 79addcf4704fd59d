/** What the library keeps about a module beside the module's own properties. */
import type { ForwardHook, ForwardPreHook } from "./hooks.ts";

/** The property that holds it: a symbol, so that walks over properties pass it by and `clone` can find it. */
export const internals = Symbol("evenkeel.internals");

export class Internals {
  /** Names of properties that are buffers. */
  readonly bufferNames = new Set<string>();
  /** Names of buffers that no state dict holds. */
  readonly transientNames = new Set<string>();
  /** Names of state that other forms of the layer have and this one has not: loading passes over it. */
  readonly ignoredNames = new Set<string>();
  /** What registered properties refuse, by name. */
  readonly checks = new Map<string, (value: unknown) => void>();
  readonly preHooks = new Set<ForwardPreHook>();
  readonly hooks = new Set<ForwardHook>();

  copy(): Internals {
    const copy = new Internals();
    for (const name of this.bufferNames) copy.bufferNames.add(name);
    for (const name of this.transientNames) copy.transientNames.add(name);
    for (const name of this.ignoredNames) copy.ignoredNames.add(name);
    for (const [name, check] of this.checks) copy.checks.set(name, check);
    for (const hook of this.preHooks) copy.preHooks.add(hook);
    for (const hook of this.hooks) copy.hooks.add(hook);
    return copy;
  }
}
