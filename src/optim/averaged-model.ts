import { isFloating } from "../core/dtype.ts";
import { ArgumentError } from "../core/errors.ts";
import { formatShape, type Shape, sameShape } from "../core/shape.ts";
import { Module } from "../nn/module.ts";
import * as raw from "../ops/raw.ts";
import { scope } from "../tensor/scope.ts";
import { allocate, backendFor, operandOf, Tensor } from "../tensor/tensor.ts";
import { copyValues, isLike } from "./parameter-state.ts";

/** An exponential average, which keeps so much of itself at each update. */
export interface EmaAveraging {
  /** From 0 to 1; 0.999 averages about the last thousand updates. */
  readonly emaDecay: number;
}

/** How a model is averaged. */
export interface AveragedModelOptions {
  /** Equal weights ("swa"), or an exponential average. Default "swa". */
  readonly averaging?: "swa" | EmaAveraging;
  /** Average buffers like parameters; otherwise they are copied from the model at each update. Default false. */
  readonly useBuffers?: boolean;
}

/**
 * A copy of a model whose parameters average those that the model has had: call it as the model itself.
 *
 * `updateParameters(model)` takes the model's present parameters in: the first time they are copied, then
 * avg += (p - avg) / (nAveraged + 1), or with emaDecay avg += (1 - emaDecay) * (p - avg).
 * Buffers: without useBuffers every update copies them, so batch norm keeps the running statistics of the *latest* parameters, which
 * do not fit the average: run `nn.updateBatchNorm(averaged, loader)` at the end. With useBuffers running statistics are averaged by the
 * same formula, counters too, cut to whole numbers.
 * State dicts have PyTorch's keys: n_averaged, and the model's behind "module.".
 *
 * Throws: ArgumentError for emaDecay outside [0, 1]; from updateParameters for a model of another structure, before anything changes.
 * Source: PyTorch optim.swa_utils.AveragedModel; Izmailov et al. 2018, arXiv:1803.05407.
 *
 * @example
 * const averaged = new optim.AveragedModel(model, { averaging: { emaDecay: 0.999 }, useBuffers: true });
 * averaged.updateParameters(model); // after each opt.step()
 */
export class AveragedModel<Model extends Module> extends Module {
  static override readonly kind: string = "AveragedModel";

  /** The copy that holds the average. */
  readonly module: Model;
  /** Equal weights, or an exponential average. */
  readonly averaging: "swa" | EmaAveraging;
  /** Whether buffers are averaged like parameters, or copied. */
  readonly useBuffers: boolean;
  /** Updates so far. */
  declare nAveraged: number;

  constructor(model: Model, options: AveragedModelOptions = {}) {
    super();
    const { averaging = "swa", useBuffers = false } = options;
    checkAveraging(averaging);
    this.averaging = averaging;
    this.useBuffers = useBuffers;
    this.registerCounter("nAveraged", 0);
    this.module = model.clone();
  }

  forward(...args: Parameters<Model["forward"]>): ReturnType<Model["forward"]> {
    return Reflect.apply(this.module, undefined, args);
  }

  /** Takes the model's present parameters, and buffers, into the average. */
  updateParameters(model: Model): void {
    const blend: Blend = { averaging: this.averaging, nAveraged: this.nAveraged };
    const pairs = pairsOf(this.module, model);
    scope(() => {
      for (const pair of pairs) {
        const isAveraged = pair.kind === "parameter" || this.useBuffers;
        if (this.nAveraged === 0 || !isAveraged) copySlot(pair);
        else blendSlot(pair, blend);
      }
    });
    this.nAveraged++;
  }
}

/** How the next values come in. */
interface Blend {
  readonly averaging: "swa" | EmaAveraging;
  readonly nAveraged: number;
}

/** A parameter or buffer of the average, and the model's. */
interface Pair {
  readonly owner: Module;
  readonly name: string;
  readonly kind: "parameter" | "buffer";
  readonly target: Tensor | number;
  readonly source: Tensor | number;
}

function checkAveraging(averaging: "swa" | EmaAveraging): void {
  if (averaging === "swa") return;
  const decay = averaging?.emaDecay;
  if (decay >= 0 && decay <= 1) return;
  throw new ArgumentError({
    op: "AveragedModel",
    expected: 'averaging to be "swa" or { emaDecay } in [0, 1]',
    actual: JSON.stringify(averaging),
  });
}

/** Both models' state side by side, what is shared once. Throws ArgumentError where they differ. */
function pairsOf(average: Module, model: Module): Pair[] {
  const owners = average.namedModules();
  const sources = model.namedModules();
  if (owners.length !== sources.length) {
    rejectModel(`${owners.length} modules`, `${sources.length}`);
  }
  const seen = new Set<Tensor | number>();
  return owners.flatMap(([path, owner], i) => {
    const own = owner.ownState();
    const given = sources[i][1].ownState();
    if (own.length !== given.length) {
      rejectModel(`${own.length} parameters and buffers in "${path}"`, `${given.length}`);
    }
    return own.flatMap(({ name, kind, value: target }, k): Pair[] => {
      const { value: source } = given[k];
      const [wanted, found] = [shapeOf(target), shapeOf(source)];
      if (given[k].name !== name || !sameShape(wanted, found)) {
        rejectModel(
          `${name} of shape ${formatShape(wanted)} in "${path}"`,
          `${given[k].name} of shape ${formatShape(found)}`,
        );
      }
      if (target instanceof Tensor && seen.has(target)) return [];
      seen.add(target);
      return [{ owner, name, kind, target, source }];
    });
  });
}

function shapeOf(value: Tensor | number): Shape {
  return value instanceof Tensor ? value.shape : [];
}

function rejectModel(expected: string, actual: string): never {
  throw new ArgumentError({
    op: "updateParameters",
    expected,
    actual,
    hint: "average the model that was given to the constructor; call lazy layers once before that",
  });
}

function copySlot({ owner, name, target, source }: Pair): void {
  if (target instanceof Tensor && source instanceof Tensor) {
    copyValues(source, target);
    target.holding.storage.markWritten("updateParameters");
  } else Reflect.set(owner, name, source);
}

function blendSlot({ owner, name, target, source }: Pair, blend: Blend): void {
  if (!(target instanceof Tensor && source instanceof Tensor)) {
    Reflect.set(owner, name, blendCounter(Number(target), Number(source), blend));
    return;
  }
  const x = likeTarget(source, target);
  if (isFloating(target.dtype)) {
    backendFor(target).averageInto(operandOf(x), operandOf(target), weightOf(blend));
  } else copyValues(blendIntegers(target, x, blend), target);
  target.holding.storage.markWritten("updateParameters");
}

function weightOf({ averaging, nAveraged }: Blend): number {
  return averaging === "swa" ? 1 / (nAveraged + 1) : 1 - averaging.emaDecay;
}

/** The values where the target is, in its dtype. */
function likeTarget(source: Tensor, target: Tensor): Tensor {
  if (isLike(source, target)) return source;
  const x = allocate(backendFor(target), target.shape, target.dtype);
  copyValues(source, x);
  return x;
}

/** PyTorch averages int64 counters in float32 and cuts off the fraction. */
function blendCounter(average: number, x: number, { averaging, nAveraged }: Blend): number {
  const { fround } = Math;
  if (averaging === "swa") {
    return Math.trunc(fround(fround(average) + fround((x - average) / (nAveraged + 1))));
  }
  const { emaDecay } = averaging;
  const kept = fround(fround(average) * fround(emaDecay));
  return Math.trunc(fround(kept + fround(fround(x) * fround(1 - emaDecay))));
}

/** As `blendCounter`, for integer tensors; in float32, to be cut off when it is copied. */
function blendIntegers(average: Tensor, x: Tensor, { averaging, nAveraged }: Blend): Tensor {
  const [from, to] = [average, x].map((t) => raw.cast(t, "float32"));
  if (averaging !== "swa") {
    const { emaDecay } = averaging;
    return raw.binary("add", raw.scale(from, emaDecay), raw.scale(to, 1 - emaDecay));
  }
  const count = raw.scalar(nAveraged + 1, from);
  return raw.binary("add", from, raw.binary("div", raw.binary("sub", to, from), count));
}
