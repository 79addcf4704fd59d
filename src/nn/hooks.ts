/** Functions that run around the calls of a module. */
import type { Module } from "./module.ts";

/** Sees the arguments of a call before `forward`; what it returns, if anything, replaces them. */
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => unknown;
/** Sees the output of a call; what it returns, if anything, replaces it. */
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;

/** Undoes a registration. */
export interface HookHandle {
  /** Ends the registration; again it does nothing. */
  remove(): void;
}

/** Adds `hook` to a module's hooks. */
export function addHook<Hook>(hooks: Set<Hook>, hook: Hook): HookHandle {
  hooks.add(hook);
  return { remove: () => hooks.delete(hook) };
}
