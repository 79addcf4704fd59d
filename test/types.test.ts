/**
 * What the compiler must accept and refuse. Every `@ts-expect-error` is itself an error where the compiler finds nothing wrong, so the
 * type check of the tests (style.test.ts) is what proves these; running them proves that the refused calls are refused at run time too.
 */
import { describe, expect, expectTypeOf, test } from "vitest";
import { data, nn, optim, type Tensor, tensor } from "../src/index.ts";

class Scaled extends nn.Module {
  static override readonly kind = "Scaled";
  forward(x: Tensor, { factor }: { readonly factor: number }): readonly [Tensor, number] {
    return [x.mul(factor), factor];
  }
}

const x = tensor([
  [1, 2],
  [3, 4],
]);

describe("a call of a module", () => {
  test("has the parameters and the result of forward", () => {
    const model = new Scaled();
    const [y, factor] = model(x, { factor: 2 });
    expectTypeOf(y).toEqualTypeOf<Tensor>();
    expectTypeOf(factor).toEqualTypeOf<number>();
    expectTypeOf<Parameters<Scaled>>().toEqualTypeOf<Parameters<Scaled["forward"]>>();
    expect(factor).toBe(2);
  });

  test("with other arguments does not compile", () => {
    const model = new Scaled();
    // @ts-expect-error an argument is missing
    expect(() => model(x)).toThrow();
    // @ts-expect-error an option has another type
    expect(() => model(x, { factor: "2" })).toThrow();
    // @ts-expect-error a number is no tensor
    expect(() => new nn.ReLU()(3)).toThrow(/expected a tensor/);
    // @ts-expect-error batch norm takes one tensor
    expect(() => new nn.BatchNorm1d(2)([x, x])).toThrow(/expected a tensor/);
  });

  test("of containers takes and gives a tensor", () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
    expectTypeOf(model(x)).toEqualTypeOf<Tensor>();
    // @ts-expect-error a layer of a Sequential maps one tensor to one tensor
    expect(new nn.Sequential(new Scaled())).toBeInstanceOf(nn.Module);
  });

  test("through capture and recompute keeps its types", () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
    const found = nn.capture(model, ["0"], x);
    expectTypeOf(found).toEqualTypeOf<{ readonly "0": Tensor }>();
    expectTypeOf(nn.recompute(model, x)).toEqualTypeOf<Tensor>();
    const pair = nn.recompute((a: Tensor, n: number) => [a, n] as const, x, 2);
    expectTypeOf(pair).toEqualTypeOf<readonly [Tensor, number]>();
    // @ts-expect-error the second argument is a number
    expect(() => nn.recompute((a: Tensor, n: number) => a.mul(n), x, null)).toThrow();
    // @ts-expect-error the model takes a tensor
    expect(() => nn.capture(model, ["0"], 3)).toThrow();
  });

  test("of a clone is that of the original", () => {
    expectTypeOf(new Scaled().clone()).toEqualTypeOf<Scaled>();
  });
});

describe("options and results", () => {
  test("with a wrong name or type do not compile", () => {
    // @ts-expect-error PyTorch's name in snake case
    expect(new nn.BatchNorm2d(2, { track_running_stats: false }).trackRunningStats).toBe(true);
    // @ts-expect-error momentum is a number or null
    expect(() => new nn.BatchNorm2d(2, { momentum: "0.1" })).toThrow(TypeError);
    // @ts-expect-error there is no such policy
    expect(() => new nn.BatchNorm2d(2, { onNonFinite: "ignore" })).toThrow();
    // @ts-expect-error there is no such dtype
    expect(() => tensor([1], { dtype: "float8" })).toThrow();
    // @ts-expect-error shapes are read-only
    const assign = () => x.shape.push(1);
    expect(assign).toBeTypeOf("function");
  });

  test("of an optimizer and of tensors are typed", () => {
    const opt = new optim.SGD(new nn.Linear(1, 1).parameters(), { lr: 0.1 });
    expectTypeOf(opt.step()).toEqualTypeOf<void>();
    expectTypeOf(x.item).returns.toEqualTypeOf<Promise<number>>();
    expectTypeOf(x.max()).toEqualTypeOf<Tensor>();
    expectTypeOf(x.max(1).indices).toEqualTypeOf<Tensor>();
    // @ts-expect-error a shape is a list of numbers
    expect(() => x.reshape("4")).toThrow();
  });

  test("a loader's batch has one tensor per field of an item", () => {
    const dataset = new data.TensorDataset(x, Int32Array.of(0, 1));
    const loader = new data.DataLoader(dataset, { batchSize: 2 });
    type Batch = typeof loader extends AsyncIterable<infer Item> ? Item : never;
    expectTypeOf<Batch>().toEqualTypeOf<[Tensor, Tensor]>();
    expect(loader.length).toBe(1);
  });

  test("isBatchNorm narrows", () => {
    const layer: nn.Module = new nn.BatchNorm1d(2);
    const narrowed = nn.isBatchNorm(layer) ? layer : null;
    expectTypeOf(narrowed).toEqualTypeOf<nn.AnyBatchNorm | null>();
    expect(narrowed?.momentum).toBe(0.1);
  });
});
