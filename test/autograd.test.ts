import { describe, expect, test, vi } from "vitest";
import {
  AutogradError,
  DTypeError,
  nn,
  noGrad,
  optim,
  ShapeError,
  tensor,
  zeros,
} from "../src/index.ts";
import { backendFor } from "../src/tensor/tensor.ts";

const values = (t: { dataSync(): ArrayLike<number> } | null | undefined) =>
  t ? Array.from(t.dataSync()) : null;

describe("backward", () => {
  test("adds up over several calls and several uses", () => {
    const x = tensor([2, 3], { requiresGrad: true });
    x.mul(x).sum().backward();
    x.mul(5).sum().backward();
    expect(values(x.grad)).toEqual([9, 11]);
  });

  test("a diamond graph counts each path once", () => {
    const x = tensor([3], { requiresGrad: true });
    const a = x.mul(2);
    const y = a.mul(a).add(a).add(x);
    y.backward();
    expect(values(x.grad)).toEqual([8 * 3 + 2 + 1]);
  });

  test("two leaves that share one cotangent get gradients of their own", () => {
    const a = tensor([1, 2], { requiresGrad: true });
    const b = tensor([3, 4], { requiresGrad: true });
    const y = a.add(b);
    y.backward(tensor([1, 1]), { retainGraph: true });
    b.mul(10).sum().backward();
    expect(values(a.grad)).toEqual([1, 1]);
    expect(values(b.grad)).toEqual([11, 11]);
  });

  test("the cotangent stays the caller's", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const cotangent = tensor([3, 4]);
    x.add(0).backward(cotangent);
    x.sum().backward();
    expect(values(cotangent)).toEqual([3, 4]);
    expect(values(x.grad)).toEqual([4, 5]);
  });

  test("gradients that meet are added in their own memory, unless somebody else reads it", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const copy = vi.spyOn(backendFor(x), "copy");
    const a = x.mul(2);
    a.mul(3).add(a.mul(4)).add(a.mul(5)).sum().backward();
    expect(values(x.grad)).toEqual([24, 24]);
    expect(copy).not.toHaveBeenCalled();
    copy.mockRestore();

    x.grad = null;
    const b = x.mul(2);
    const cotangent = tensor([3, 4]);
    b.add(b).add(b.mul(7)).add(b).backward(cotangent);
    expect(values(x.grad)).toEqual([60, 80]);
    expect(values(cotangent)).toEqual([3, 4]);
  });

  test("through a leaf itself", () => {
    const x = tensor([1, 2], { requiresGrad: true });
    x.backward(tensor([5, 6]));
    expect(values(x.grad)).toEqual([5, 6]);
  });

  test("detach stops gradients and shares memory", () => {
    const x = tensor([2], { requiresGrad: true });
    x.detach().mul(x).backward();
    expect(values(x.grad)).toEqual([2]);
    expect(x.detach().requiresGrad).toBe(false);
  });

  test("nothing is recorded under noGrad", () => {
    const x = tensor([2], { requiresGrad: true });
    const y = noGrad(() => x.mul(2));
    expect(y.requiresGrad).toBe(false);
    expect(() => y.backward()).toThrow(AutogradError);
  });

  test("a graph of 20,000 operations neither overflows the stack nor leaks when dropped", () => {
    const x = tensor([1], { requiresGrad: true });
    let y = x.add(1);
    for (let i = 0; i < 20000; i++) y = y.add(1);
    y.backward();
    expect(values(x.grad)).toEqual([1]);
    let z = x.add(1);
    for (let i = 0; i < 20000; i++) {
      const next = z.add(1);
      z.dispose();
      z = next;
    }
    z.dispose();
    expect(values(x)).toEqual([1]);
  });
});

describe("backward refuses", () => {
  test("a graph released by an earlier backward, unless it was retained", () => {
    const x = tensor([2], { requiresGrad: true });
    const y = x.mul(x);
    y.backward();
    expect(() => y.backward()).toThrow(/retainGraph: true/);
    const z = x.mul(x);
    z.backward(undefined, { retainGraph: true });
    z.backward();
    expect(values(x.grad)).toEqual([12]);
  });

  test("a missing, misshapen or mistyped cotangent", () => {
    const y = tensor([1, 2], { requiresGrad: true }).mul(2);
    expect(() => y.backward()).toThrow(ShapeError);
    expect(() => y.backward(zeros([3]))).toThrow(ShapeError);
    expect(() => y.backward(zeros([2], { dtype: "int32" }))).toThrow(DTypeError);
    expect(() => y.backward(zeros([2], { device: "reference" }))).toThrow(DTypeError);
  });

  test("a tensor without history, and a gradient: first-order only", () => {
    const x = tensor([2], { requiresGrad: true });
    x.mul(x).backward();
    expect(() => tensor([1]).backward()).toThrow(AutogradError);
    expect(() => x.grad?.backward()).toThrow(/first-order only/);
  });

  test("weights overwritten since: by a step, loadStateDict, resetParameters; and changes nothing then", () => {
    const overwrite: readonly ((bn: nn.BatchNorm1d) => void)[] = [
      (bn) => {
        const opt = new optim.SGD(bn.parameters(), { lr: 1 });
        bn(tensor([[1], [2]]))
          .sum()
          .backward();
        opt.step();
        opt.zeroGrad();
      },
      (bn) => bn.loadStateDict({ weight: tensor([3]) }, { strict: false }),
      (bn) => bn.resetParameters(),
    ];
    const writers = [/the optimizer's step/, /loadStateDict/, /resetParameters/];
    overwrite.forEach((write, i) => {
      const bn = new nn.BatchNorm1d(1);
      const x = tensor([[1], [5]], { requiresGrad: true });
      const y = bn(x).sum();
      write(bn);
      expect(() => y.backward()).toThrow(writers[i]);
      expect(() => y.backward()).toThrow(/weight of batchNorm/);
      expect(x.grad).toBeNull();
    });
  });
});

describe("requiresGrad", () => {
  test("is for floating leaves", () => {
    expect(() => {
      zeros([1], { dtype: "int32" }).requiresGrad = true;
    }).toThrow(DTypeError);
    const y = tensor([1], { requiresGrad: true }).mul(2);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(/detach/);
  });
});
