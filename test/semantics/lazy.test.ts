import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  checkpoint,
  nn,
  noGrad,
  optim,
  randn,
  ShapeError,
  StateDictError,
  type Tensor,
  tensor,
} from "../../src/index.ts";

const dimensions = [
  ["1d", nn.LazyBatchNorm1d, nn.BatchNorm1d, [16, 3, 6]],
  ["1d without length", nn.LazyBatchNorm1d, nn.BatchNorm1d, [16, 6]],
  ["2d", nn.LazyBatchNorm2d, nn.BatchNorm2d, [16, 3, 6, 7]],
  ["3d", nn.LazyBatchNorm3d, nn.BatchNorm3d, [16, 3, 6, 7, 8]],
] as const;
const switches = [
  { affine: true, trackRunningStats: true },
  { affine: true, trackRunningStats: false },
  { affine: false, trackRunningStats: true },
  { affine: false, trackRunningStats: false },
];
const values = (t: Tensor | null) => Array.from(t?.dataSync() ?? []);
const sizes = (layer: nn.AnyBatchNorm) =>
  [layer.weight, layer.bias, layer.runningMean, layer.runningVar].map((t) => t?.size ?? null);

describe.each(dimensions)("a lazy batch norm, %s", (_name, Lazy, Plain, shape) => {
  test.each(switches)(
    "L-01 becomes the plain layer at its first call ($affine, $trackRunningStats)",
    (options) => {
      const lazy = new Lazy(options);
      const expected = (size: number) => [
        ...(options.affine ? [size, size] : [null, null]),
        ...(options.trackRunningStats ? [size, size] : [null, null]),
      ];
      expect([lazy.kind, lazy.numFeatures, sizes(lazy)]).toEqual([
        `Lazy${Plain.kind}`,
        0,
        expected(0),
      ]);
      expect(lazy.numBatchesTracked).toBe(options.trackRunningStats ? 0 : null);
      expect(nn.isBatchNorm(lazy)).toBe(true);

      const x = randn(shape);
      const plain = new Plain(shape[1], options);
      expect(values(lazy(x))).toEqual(values(plain(x)));
      expect([lazy.kind, lazy.numFeatures, sizes(lazy)]).toEqual([
        Plain.kind,
        shape[1],
        expected(shape[1]),
      ]);
      expect(Object.getPrototypeOf(lazy)).toBe(Plain.prototype);
      expect(values(lazy.runningMean)).toEqual(values(plain.runningMean));
      expect(String(lazy)).toBe(String(plain));
    },
  );

  test("L-05 in evaluation too", () => {
    const lazy = new Lazy().eval();
    const x = randn(shape);
    expect(values(lazy(x))).toEqual(values(new Plain(shape[1]).eval()(x)));
    expect([lazy.kind, lazy.numBatchesTracked]).toEqual([Plain.kind, 0]);
  });
});

test("L-02 a state dict goes through a file before the first call and after it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lazy-"));
  const path = join(folder, "state.safetensors");
  const lazy = new nn.LazyBatchNorm2d();
  await checkpoint.write(path, lazy.stateDict());
  const empty = new nn.LazyBatchNorm2d();
  empty.loadStateDict(await checkpoint.read(path));
  expect([empty.kind, empty.weight?.size]).toEqual(["LazyBatchNorm2d", 0]);

  lazy(randn([2, 5, 3, 3]));
  await checkpoint.write(path, lazy.stateDict());
  empty.loadStateDict(await checkpoint.read(path));
  expect(values(empty.runningMean)).toEqual(values(lazy.runningMean));
  rmSync(folder, { recursive: true });
});

test("L-03 loading real values gives it their shape; the first call makes it plain and keeps them", () => {
  const trained = new nn.BatchNorm1d(10);
  trained(randn([8, 10]));
  const lazy = new nn.LazyBatchNorm1d();
  const { weight } = lazy;
  lazy.loadStateDict(trained.stateDict());
  expect([lazy.kind, sizes(lazy)]).toEqual(["LazyBatchNorm1d", [10, 10, 10, 10]]);
  expect(lazy.weight).toBe(weight);
  lazy.eval()(randn([4, 10]));
  expect([lazy.kind, lazy.numFeatures, lazy.numBatchesTracked]).toEqual(["BatchNorm1d", 10, 1]);
  expect(values(lazy.runningMean)).toEqual(values(trained.runningMean));
});

test("L-04 an uninitialised state does not load into a plain layer", () => {
  expect(() => new nn.BatchNorm1d(4).loadStateDict(new nn.LazyBatchNorm1d().stateDict())).toThrow(
    StateDictError,
  );
});

test("a load that is refused leaves a lazy layer lazy", () => {
  const lazy = new nn.LazyBatchNorm1d();
  expect(() => lazy.loadStateDict({ weight: tensor([1, 2]) })).toThrow(/missing bias/);
  expect(sizes(lazy)).toEqual([0, 0, 0, 0]);
});

test("an optimizer made before the first call trains the parameters", () => {
  const model = new nn.Sequential(new nn.LazyBatchNorm1d(), new nn.Linear(3, 1));
  const opt = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
  model(randn([6, 3]))
    .pow(2)
    .sum()
    .backward();
  opt.step();
  const weight = model.stateDict().get("0.weight");
  expect(values(weight as Tensor).every((w) => w !== 1)).toBe(true);
});

test("moving and casting before the first call holds for the vectors made then", () => {
  const lazy = new nn.LazyBatchNorm1d().to("reference").to("float64");
  lazy(randn([4, 2], { device: "reference", dtype: "float64" }));
  expect([lazy.weight?.device, lazy.weight?.dtype, lazy.runningVar?.dtype]).toEqual([
    "reference",
    "float64",
    "float64",
  ]);
});

test("a first input of another rank makes it plain and is refused; one without channels changes nothing", () => {
  const lazy = new nn.LazyBatchNorm2d();
  expect(() => lazy(randn([4]))).toThrow(ShapeError);
  expect(lazy.kind).toBe("LazyBatchNorm2d");
  expect(() => lazy(randn([4, 3]))).toThrow(/BatchNorm2d: expected x with 4 axes/);
  expect([lazy.kind, lazy.numFeatures]).toEqual(["BatchNorm2d", 3]);
});

test("a clone of a lazy layer is lazy, and nothing counts before a batch has passed", () => {
  const lazy = new nn.LazyBatchNorm1d();
  const copy = lazy.clone();
  noGrad(() => copy(randn([3, 2])));
  expect([lazy.kind, copy.kind, copy.numBatchesTracked]).toEqual([
    "LazyBatchNorm1d",
    "BatchNorm1d",
    1,
  ]);
});

test("L-01 prints as PyTorch does", () => {
  expect(String(new nn.LazyBatchNorm2d({ momentum: null }))).toBe(
    "LazyBatchNorm2d(0, eps=1e-05, momentum=None, affine=True, track_running_stats=True)",
  );
});
