/** Groups of parameters that share options, as PyTorch's optimizers have them. */
import { ArgumentError } from "../core/errors.ts";
import { Tensor } from "../tensor/tensor.ts";

/** What every optimizer's groups have; those of one optimizer add theirs. */
export interface GroupOptions {
  /** Learning rate. Each optimizer has a default of its own. */
  lr: number;
  /** Pull towards 0; each optimizer has a default of its own. Batch norm's weights and biases are decayed too, unless `splitWeightDecay` keeps them out. */
  weightDecay: number;
  /** Climb instead of descending. Default false. */
  maximize: boolean;
  /** Of optimizers that have one. */
  momentum?: number;
  /** Of optimizers that have them: decay of the averages of the gradient and of its square. */
  betas?: readonly [number, number];
}

/** What schedulers note in a group, for themselves and for state dicts. */
export interface Schedule {
  /** The rate that schedules start from. */
  initialLr?: number;
  /** The greatest rate of a cycle. */
  maxLr?: number;
  /** The last rate of a cycle. */
  minLr?: number;
  /** The greatest momentum of a cycle. */
  maxMomentum?: number;
  /** The least momentum of a cycle. */
  baseMomentum?: number;
  /** The rate at which weights are averaged. */
  swaLr?: number;
}

/** Parameters and their options, which may be changed between steps. */
export type ParamGroup<Options extends GroupOptions = GroupOptions> = Options &
  Schedule & {
    /** Leaf tensors, each once. */
    readonly params: readonly Tensor[];
  };

/** A group as it is given: options left out are the optimizer's defaults. */
export type GivenGroup<Options extends GroupOptions = GroupOptions> = Readonly<Partial<Options>> &
  Readonly<Schedule> & {
    /** Leaf tensors, usually `module.parameters()`. */
    readonly params: Tensor | Iterable<Tensor>;
  };

/** What optimizers take: tensors, which make one group, or groups. */
export type GivenParameters<Options extends GroupOptions = GroupOptions> =
  | Iterable<Tensor>
  | Iterable<GivenGroup<Options>>;

const scheduleNames: ReadonlySet<string> = new Set<keyof Schedule>([
  "initialLr",
  "maxLr",
  "minLr",
  "maxMomentum",
  "baseMomentum",
  "swaLr",
]);

/** Whether a group's property is a scheduler's note rather than an option. */
export function isScheduleName(name: string): name is keyof Schedule {
  return scheduleNames.has(name);
}

/** Parameters, not yet checked, and the options given with them. */
export interface UncheckedGroup {
  readonly params: unknown;
  readonly options: object;
}

/** The groups that an optimizer's first argument stands for. Throws ArgumentError when it is empty or something else. */
export function givenGroups(op: string, parameters: unknown): UncheckedGroup[] {
  const items: unknown[] = isIterable(parameters) ? [...parameters] : [];
  if (items.length === 0) {
    throw new ArgumentError({
      op,
      expected: "an array, or another iterable, of parameters or groups",
      actual: isIterable(parameters) ? "an empty one" : describe(parameters),
      hint: "pass model.parameters()",
    });
  }
  const groups = items.filter(isGroup);
  if (groups.length === 0) return [{ params: items, options: {} }];
  if (groups.length === items.length) {
    return groups.map((group) => ({ params: group.params, options: group }));
  }
  throw new ArgumentError({
    op,
    expected: "tensors only or groups only",
    actual: "some of each",
    hint: "put the tensors into a group: { params: [...] }",
  });
}

/** A group's parameters, each once. Throws ArgumentError unless all are leaf tensors. */
export function leavesOf(op: string, params: unknown): Tensor[] {
  if (params instanceof Tensor) return tensorsOf(op, [params]);
  if (isIterable(params)) return tensorsOf(op, [...params]);
  throw new ArgumentError({ op, expected: "params in every group", actual: describe(params) });
}

function tensorsOf(op: string, items: readonly unknown[]): Tensor[] {
  const tensors = new Set<Tensor>();
  for (const item of items) {
    if (item instanceof Tensor && item.node === null) {
      tensors.add(item);
      continue;
    }
    const isModule = typeof item === "function";
    throw new ArgumentError({
      op,
      expected: "leaf tensors",
      actual: item instanceof Tensor ? "the result of an operation" : describe(item),
      ...(isModule ? { hint: "pass model.parameters()" } : {}),
    });
  }
  return [...tensors];
}

function isGroup(item: unknown): item is { readonly params: unknown } {
  return typeof item === "object" && item !== null && "params" in item;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return (
    (typeof value === "object" || typeof value === "function") &&
    value !== null &&
    Symbol.iterator in value
  );
}

function describe(value: unknown): string {
  if (value instanceof Tensor) return "a single tensor";
  return typeof value === "function" ? "a module" : `${value === null ? "null" : typeof value}`;
}

/** Throws ArgumentError unless `value` is a number of at least `least`. */
export function checkAtLeast(op: string, name: string, value: number, least: number): void {
  if (typeof value === "number" && value >= least) return;
  throw new ArgumentError({ op, expected: `${name} >= ${least}`, actual: String(value) });
}
