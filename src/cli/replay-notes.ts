/** In what a model is not the recorded one: what to look at when a replay parts. */
import type { LoadResult } from "../nn/load-state.ts";
import type { Module } from "../nn/module.ts";
import type { Recording } from "./recording.ts";

/** One sentence for each kind or layer that differs. */
export function describeModel(
  model: Module,
  { layers }: Recording,
  { missingKeys, unexpectedKeys }: LoadResult,
): string[] {
  const own = new Map(model.namedModules());
  const lacking = Object.keys(layers).filter((name) => !own.has(name));
  const differing = Object.entries(layers).flatMap(([name, { text, training }]) => {
    const module = own.get(name);
    if (module === undefined) return [];
    const modes =
      module.training === training
        ? []
        : [`${name} is in ${modeOf(!training)}, recorded in ${modeOf(training)}`];
    const isSame = comparable(String(module)) === comparable(text);
    return isSame ? modes : [...modes, `${name} is ${module}, recorded ${text}`];
  });
  const random = [...own].filter(
    ([, module]) => module.kind.startsWith("Dropout") && module.training,
  );
  return [
    ...differing,
    ...listed("recorded keys that the model lacks", unexpectedKeys),
    ...listed("keys of the model that were not recorded", missingKeys),
    ...listed("recorded layers that the model lacks", lacking),
    ...listed(
      "dropout draws other numbers than PyTorch; record with p=0",
      random.map(([name]) => name),
    ),
  ];
}

function listed(what: string, names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`${what}: ${names.join(", ")}`];
}

function modeOf(training: boolean): string {
  return training ? "training" : "evaluation";
}

/** Whether a layer works in place changes no value; that batch norm has a bias is printed by new versions of PyTorch alone. */
function comparable(text: string): string {
  return text.replace(/(, )?inplace=(True|False)|(?<=affine=True, )bias=True, /, "");
}
