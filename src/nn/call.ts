/** Calls of modules: how one runs, and which are running. */
import { ArgumentError } from "../core/errors.ts";
import { asInFirstRun } from "../tensor/recompute.ts";
import { runInScope } from "../tensor/scope.ts";
import { internals } from "./internals.ts";
import type { Module } from "./module.ts";
import { convertInputs } from "./move.ts";

/** The modules whose calls are running, outermost first. */
const callStack: Module[] = [];

/** Path of `module` inside the outermost module whose call is running, for messages: "layer1.0.bn1". */
export function pathInCall(module: Module): string {
  const found = callStack[0]?.namedModules().find(([, other]) => other === module);
  return found?.[0] ? `${found[0]} (${module.kind})` : module.kind;
}

/** A generator or iterator would run after the call, when its tensors have ended. */
function rejectGenerator(kind: string, output: unknown): void {
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

/** What calling a module does: hooks and `forward`, in a scope of its own. */
export function callModule(module: Module, args: readonly unknown[]): unknown {
  callStack.push(module);
  const mode = module.training;
  const firstMode = asInFirstRun(module, mode);
  try {
    if (mode !== firstMode) module.training = firstMode;
    return runInScope(module.kind, (scope) => {
      scope.holders.add(module);
      let inputs = convertInputs(args, module[internals].inputDType);
      for (const hook of module[internals].preHooks) {
        const replaced = hook(module, inputs);
        if (replaced !== undefined) inputs = Array.isArray(replaced) ? replaced : [replaced];
      }
      let output: unknown = Reflect.apply(module.forward, module, inputs);
      rejectGenerator(module.kind, output);
      for (const hook of module[internals].hooks) output = hook(module, inputs, output) ?? output;
      return output;
    });
  } finally {
    if (mode !== firstMode) module.training = mode;
    callStack.pop();
  }
}
