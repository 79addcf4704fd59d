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

/** Told of calls when they end, where hooks would change how they run. */
export interface Watcher {
  ended(module: Module, output: unknown): void;
  /** A ReLU ran in the pass of `bn`, behind the sum with a residual if there was one. */
  fused(bn: Module, hasResidual: boolean): void;
}

let watcher: Watcher | null = null;

/** Who watches the calls that run now. */
export function currentWatcher(): Watcher | null {
  return watcher;
}

/** Runs `fn` while `next` is told of every call. */
export function watchCalls(next: Watcher, fn: () => void): void {
  const before = watcher;
  watcher = next;
  try {
    fn();
  } finally {
    watcher = before;
  }
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
  return runModule(module, () => {
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
}

/** Runs a call of `module` that is nothing but `run`, in a scope of its own. */
export function runModule<Output>(module: Module, run: () => Output): Output {
  callStack.push(module);
  const mode = module.training;
  const firstMode = asInFirstRun(module, mode);
  try {
    if (mode !== firstMode) module.training = firstMode;
    return runInScope(module.kind, (scope) => {
      scope.holders.add(module);
      const output = run();
      watcher?.ended(module, output);
      return output;
    });
  } finally {
    if (mode !== firstMode) module.training = mode;
    callStack.pop();
  }
}
