import { ArgumentError } from "../core/errors.ts";
import { hold, letGo } from "../tensor/lifetime.ts";
import { runInScope } from "../tensor/scope.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Module } from "./module.ts";
import { nearestKey } from "./state-dict.ts";

/**
 * Calls `model(...args)` and returns what the modules at `names` gave, by name, with their history: gradients flow from them into the
 * model. Names are the paths of `namedModules()`; "" is the model itself. Of a module called several times it is the last output. The
 * outputs belong to the scope that called `capture`; everything else of the call ends with it.
 *
 * `Output` is Tensor unless stated: `capture<"a", Tensor[]>(...)` for modules that return something else.
 * Throws: ArgumentError for a name that the model does not have, or of a module that was not called.
 *
 * @example
 * const { "0": hidden } = nn.capture(model, ["0"], x);
 */
export function capture<
  Name extends string,
  Output = Tensor,
  Args extends readonly unknown[] = readonly [Tensor],
>(
  model: Module & ((...args: Args) => unknown),
  names: readonly Name[],
  ...args: Args
): { readonly [Key in Name]: Output } {
  const modules = names.map((name) => [name, find(model, name)] as const);
  const outputs: Partial<Record<Name, Output>> = {};
  const hooks = modules.map(([name, module]) =>
    module.registerForwardHook((_module, _args, output) => {
      outputs[name] = output as Output;
      hold(outputs);
    }),
  );
  try {
    return runInScope("capture", () => {
      model(...args);
      return complete(outputs, names);
    });
  } finally {
    for (const hook of hooks) hook.remove();
    letGo(outputs);
  }
}

function find(model: Module, name: string): Module {
  const modules = new Map(model.namedModules());
  const found = modules.get(name);
  if (found !== undefined) return found;
  const nearest = nearestKey(name, modules.keys());
  throw new ArgumentError({
    op: "capture",
    expected: "paths of modules, as namedModules() gives them",
    actual: JSON.stringify(name),
    ...(nearest ? { hint: `did you mean ${JSON.stringify(nearest)}?` } : {}),
  });
}

function complete<Name extends string, Output>(
  outputs: Partial<Record<Name, Output>>,
  names: readonly Name[],
): Record<Name, Output> {
  const missing = names.filter((name) => !(name in outputs));
  if (missing.length === 0) return outputs as Record<Name, Output>;
  throw new ArgumentError({
    op: "capture",
    expected: "modules that the call of the model reaches",
    actual: `${missing.join(", ")}, which did not run`,
  });
}
