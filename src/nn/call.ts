/** The calls of modules that are running. */
import { ArgumentError } from "../core/errors.ts";
import type { Module } from "./module.ts";

/** The modules whose calls are running, outermost first. */
export const callStack: Module[] = [];

/** Path of `module` inside the outermost module whose call is running, for messages: "layer1.0.bn1". */
export function pathInCall(module: Module): string {
  const found = callStack[0]?.namedModules().find(([, other]) => other === module);
  return found?.[0] ? `${found[0]} (${module.kind})` : module.kind;
}

/** A generator or iterator would run after the call, when its tensors have ended. */
export function rejectGenerator(kind: string, output: unknown): void {
  const isGenerator =
    typeof output === "object" &&
    output !== null &&
    "next" in output &&
    typeof output.next === "function";
  if (!isGenerator) return;
  throw new ArgumentError({
    op: kind,
    expected: "a forward that returns its outputs",
    actual: "a generator, which would run after the call's scope has ended",
    hint: "collect the outputs in an array",
  });
}
