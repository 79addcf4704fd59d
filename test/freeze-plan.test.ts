/** `nn.freezePlan` against what then happens: every row of the truth table, times every way of freezing. */
import { describe, expect, test } from "vitest";
import { nn, randn, type Tensor, tensor } from "../src/index.ts";
import { distinct } from "./support/random.ts";

const x = tensor(distinct(12, { seed: 1, low: -4, high: 6 }), { shape: [4, 3] });
const bits = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);

/** A layer with statistics of its own and three batches counted. */
function tracking(options: nn.BatchNormLayerOptions = {}): nn.BatchNorm1d {
  const bn = new nn.BatchNorm1d(3, options);
  const state = { running_mean: tensor([0.5, -1, 2]), running_var: tensor([0.25, 3, 1.5]) };
  bn.loadStateDict({ ...state, num_batches_tracked: 3 }, { strict: false });
  return bn;
}

const untracked = (flag: boolean) => {
  const bn = new nn.BatchNorm1d(3, { trackRunningStats: false });
  bn.trackRunningStats = flag;
  return bn;
};
const changed = (bn: nn.BatchNorm1d, changes: Partial<nn.BatchNorm1d>) =>
  Object.assign(bn, changes);

const layers: [string, () => nn.BatchNorm1d][] = [
  ["1 tracking", () => tracking()],
  ["2 momentum null", () => tracking({ momentum: null })],
  ["3 flag off later", () => changed(tracking(), { trackRunningStats: false })],
  ["4 flag on later", () => untracked(true)],
  ["5 no buffers", () => untracked(false)],
  ["9 no counter", () => changed(tracking(), { numBatchesTracked: null })],
  [
    "10 no counter, momentum null",
    () => changed(tracking({ momentum: null }), { numBatchesTracked: null }),
  ],
  ["11 only the variance", () => changed(tracking(), { runningMean: null })],
  ["11 only the mean", () => changed(tracking(), { runningVar: null })],
  ["momentum 0", () => tracking({ momentum: 0 })],
  ["momentum 1", () => tracking({ momentum: 1 })],
  ["no weight or bias", () => tracking({ affine: false })],
  ["no bias", () => tracking({ bias: false })],
  ["requiresGrad false", () => tracking().setRequiresGrad(false)],
];

const freezes: [string, (bn: nn.BatchNorm1d) => void][] = [
  ["free", () => {}],
  ["in eval before", (bn) => void bn.eval()],
  ["a train() that keeps eval (rows 6 to 8, 12)", keepEval],
  ["affine frozen", (bn) => void nn.freezeBatchNorm(bn, { stats: false })],
  ["statistics frozen", (bn) => void freezeWhereThere(bn, { affine: false })],
  ["all frozen", (bn) => void freezeWhereThere(bn, {})],
  ["all frozen, made to require grad", (bn) => void freezeWhereThere(bn, {}).setRequiresGrad(true)],
];

function keepEval(bn: nn.BatchNorm1d): void {
  Object.defineProperty(bn, "train", {
    value() {
      this.training = false;
      return this;
    },
  });
}

/** Freezes a complete layer, then takes away what was missing. */
function freezeWhereThere(bn: nn.BatchNorm1d, options: nn.FreezeOptions): nn.BatchNorm1d {
  const { runningMean, runningVar } = bn;
  Object.assign(bn, {
    runningMean: runningMean ?? tensor([0, 0, 0]),
    runningVar: runningVar ?? tensor([1, 1, 1]),
  });
  nn.freezeBatchNorm(bn, options);
  return Object.assign(bn, { runningMean, runningVar });
}

/** What a forward and backward after `train()` did, in the plan's words. */
function happens(bn: nn.BatchNorm1d) {
  const before = { mean: bits(bn.runningMean), batches: bn.numBatchesTracked };
  const counts = () => bn.numBatchesTracked !== before.batches;
  bn.train();
  const input = x.clone();
  input.requiresGrad = true;
  const attempt = () => {
    const y = bn(input);
    y.pow(2).sum().backward();
    return y;
  };
  const gradients = () => (["weight", "bias"] as const).filter((name) => bn[name]?.grad);
  let y: Tensor;
  try {
    y = attempt();
  } catch {
    return { normalizesWith: "nothing", factor: 0, counts: counts(), gradients: gradients() };
  }
  const { weight, bias, eps } = bn;
  const batch = nn.functional.batchNorm(x, null, null, { weight, bias, eps, training: true });
  const usesBatch = bits(batch).every((value, i) => Math.abs(value - y.dataSync()[i]) < 1e-5);
  const observed = bits(x.mean(0))[0];
  const factor = (bits(bn.runningMean)[0] - before.mean[0]) / (observed - before.mean[0]) || 0;
  return {
    ...{
      normalizesWith: usesBatch ? "batch" : "running",
      counts: counts(),
      gradients: gradients(),
    },
    factor: Number(factor.toFixed(5)),
  };
}

describe.each(freezes)("freezePlan foretells: %s", (_how, freeze) => {
  test.each(layers)("row %s", (_row, make) => {
    const bn = make();
    freeze(bn);
    const [{ normalizesWith, factor, counts, gradients }] = nn.freezePlan(bn).rows;
    const told = { normalizesWith, factor, counts, gradients };
    expect(happens(bn)).toEqual(told);
  });
});

const planOf = (bn: nn.Module) => nn.freezePlan(bn).rows[0];

describe("the plan in words", () => {
  test("names layer, statistics and why, what moves, what learns, what is frozen", () => {
    const model = new nn.Sequential(
      tracking(),
      new nn.ReLU(),
      tracking({ momentum: null }).setRequiresGrad(false),
      tracking().eval(),
      tracking(),
      new nn.FrozenBatchNorm2d(3),
    );
    nn.freezeBatchNorm(model, { match: "4", affine: false });
    const modes = model.modules().map(({ training }) => training);
    expect(String(nn.freezePlan(model))).toBe(
      [
        "0 (BatchNorm1d): normalises with batch statistics (it is training); mean and variance move by 0.1, the counter by 1; gradients to weight and bias",
        "2 (BatchNorm1d): normalises with batch statistics (it is training); mean and variance move by 0.25, the counter by 1; no gradients",
        "  frozen: weight and bias by requiresGrad = false",
        "  warning: weight and bias are still and the statistics move: the outputs in evaluation change; freeze the statistics, too",
        "3 (BatchNorm1d): normalises with batch statistics (it is training); mean and variance move by 0.1, the counter by 1; gradients to weight and bias",
        "  warning: it is in evaluation mode now, which the next train() ends; freezeBatchNorm lasts",
        "4 (BatchNorm1d): normalises with running statistics (its statistics are frozen); no statistic moves; gradients to weight and bias",
        "  frozen: statistics by freezeBatchNorm",
        "5 (FrozenBatchNorm2d): normalises with running statistics (its class knows no others); no statistic moves; no gradients",
        "  frozen: everything by its class",
      ].join("\n"),
    );
    expect(model.modules().map(({ training }) => training)).toEqual(modes);
  });

  test("warns of switches that stop statistics and freeze nothing", () => {
    const off = changed(tracking(), { trackRunningStats: false });
    expect(planOf(off).warnings).toEqual([
      "the running statistics stand still for their trackRunningStats, but the batch normalises: this is not frozen",
    ]);
    expect(planOf(tracking({ momentum: 0 })).warnings).toEqual([
      "the running statistics stand still for their momentum, but the batch normalises: this is not frozen",
    ]);
    const fresh = new nn.BatchNorm1d(3);
    nn.freezeBatchNorm(fresh);
    expect(planOf(fresh)).toMatchObject({
      frozenBy: ["statistics by freezeBatchNorm", "weight and bias by freezeBatchNorm"],
      warnings: [
        "its statistics are frozen with no batch counted: they may be those of a new layer",
      ],
    });
    expect(planOf(tracking()).warnings).toEqual([]);
  });

  test("says which statistic is missing, and that a train() of the model's own keeps evaluation", () => {
    expect(planOf(changed(tracking(), { runningVar: null })).reason).toBe(
      "runningVar is missing: the call will throw",
    );
    class Backbone extends nn.Module {
      static override readonly kind = "Backbone";
      readonly bn = tracking();
      override train(mode = true): this {
        super.train(mode);
        this.bn.eval();
        return this;
      }
      forward(input: Tensor): Tensor {
        return this.bn(input);
      }
    }
    expect(planOf(new Backbone())).toMatchObject({
      reason: "train() leaves it in evaluation mode",
      frozenBy: ["statistics by a train() of the model's own"],
    });
    expect(planOf(untracked(false)).reason).toBe("it has no running ones");
  });

  test("touches no statistic and puts modes back when train() throws", () => {
    const bn = tracking().eval();
    Object.defineProperty(bn, "train", {
      value() {
        this.training = true;
        throw new RangeError("no");
      },
    });
    expect(() => nn.freezePlan(bn)).toThrow(new RangeError("no"));
    expect(bn.training).toBe(false);
    const layer = tracking();
    nn.freezePlan(layer);
    layer.eval()(randn([2, 3]));
    expect([bits(layer.runningMean), layer.numBatchesTracked]).toEqual([[0.5, -1, 2], 3]);
  });
});
