import { describe, expect, test } from "vitest";
import { nn, optim, randn, scope, type Tensor } from "../src/index.ts";

const values = (t: Tensor | null | undefined) => Array.from(t?.dataSync() ?? []);

describe("convertBatchNormToGroupNorm", () => {
  class Block extends nn.Module {
    static override readonly kind = "Block";
    readonly conv = new nn.Conv2d(1, 64, 3);
    norm1: nn.Module = new nn.BatchNorm2d(64, { eps: 0.01 });
    readonly rest = [new nn.BatchNorm2d(24, { affine: false }), new nn.ReLU()];
    forward(x: Tensor): Tensor {
      return this.conv(x);
    }
  }

  test("replaces every batch norm in its place and says which", () => {
    const model = new Block();
    const old = model.norm1 as nn.BatchNorm2d;
    const { weight, bias, runningVar } = old;
    old.eval();
    const result = nn.convertBatchNormToGroupNorm(model);
    expect(result.model).toBe(model);
    expect(result.replaced).toEqual(["norm1", "rest.0"]);
    const norm = model.norm1 as nn.GroupNorm;
    expect(String(norm)).toBe("GroupNorm(32, 64, eps=0.01, affine=True, bias=True)");
    expect(String(model.rest[0])).toBe("GroupNorm(8, 24, eps=1e-05, affine=False, bias=False)");
    expect([norm.weight === weight, norm.bias === bias, norm.training]).toEqual([
      true,
      true,
      false,
    ]);
    expect(model.rest[0].training).toBe(true);
    expect(() => runningVar?.dataSync()).toThrow(/dispose/);
    expect(norm(randn([2, 64, 3, 3])).shape).toEqual([2, 64, 3, 3]);
  });

  test("takes groups as a number or by channels, and leaves all as it was when they do not divide", () => {
    const model = () =>
      new nn.Sequential(new nn.BatchNorm1d(6), new nn.BatchNorm1d(4, { bias: false }));
    const halves = nn.convertBatchNormToGroupNorm(model(), { groups: (channels) => channels / 2 });
    expect(halves.model.toArray().map(String)).toEqual([
      "GroupNorm(3, 6, eps=1e-05, affine=True, bias=True)",
      "GroupNorm(2, 4, eps=1e-05, affine=True, bias=False)",
    ]);
    const refused = model();
    const before = String(refused);
    expect(() => nn.convertBatchNormToGroupNorm(refused, { groups: 3 })).toThrow(
      /GroupNorm: expected/,
    );
    expect(String(refused)).toBe(before);
  });

  test("a batch norm alone is answered with its replacement; frozen weights stay frozen", () => {
    const layer = new nn.BatchNorm1d(8).setRequiresGrad(false);
    const { model, replaced } = nn.convertBatchNormToGroupNorm(layer, { groups: 2 });
    expect([model.kind, replaced, model.weight?.requiresGrad]).toEqual(["GroupNorm", [""], false]);
  });

  test("an optimizer made before goes on with the weights", () => {
    const model = new nn.Sequential(new nn.BatchNorm1d(4));
    const opt = new optim.SGD(model.parameters(), { lr: 1 });
    nn.convertBatchNormToGroupNorm(model, { groups: 2 });
    scope(() =>
      model(randn([2, 4, 3]))
        .sum()
        .backward(),
    );
    opt.step();
    expect(values(model.parameters()[1])).toEqual([-6, -6, -6, -6]);
  });

  test("a lazy layer must have been called", () => {
    const model = new nn.Sequential(new nn.LazyBatchNorm1d());
    expect(() => nn.convertBatchNormToGroupNorm(model)).toThrow(
      /channels at 0, got a LazyBatchNorm1d/,
    );
    model(randn([2, 6, 2]));
    expect(nn.convertBatchNormToGroupNorm(model).replaced).toEqual(["0"]);
  });
});
