/** The reference backend against numbers worked out by hand. What it says, the contract suite asks of every other backend. */
import { describe, expect, test } from "vitest";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import { DeviceError } from "../../src/core/errors.ts";
import { hashUniform } from "../../src/core/random.ts";
import { expectValues, f64, f64Out, ints, resultsOf } from "../support/by-hand.ts";
import { inout, output } from "../support/kernel-case.ts";

describe("memory", () => {
  test("freeing or using an unknown or freed handle is an error", () => {
    const backend = createReferenceBackend();
    const handle = backend.alloc(8);
    const x = { handle, offset: 0, length: 2, dtype: "float32" as const };
    backend.free(handle);
    expect(() => backend.free(handle)).toThrow(DeviceError);
    expect(() => backend.free(99)).toThrow(DeviceError);
    expect(() => backend.readSync(x)).toThrow(DeviceError);
  });

  test("live and peak bytes are the bytes asked for", () => {
    const backend = createReferenceBackend();
    const handles = [10, 20].map((bytes) => backend.alloc(bytes));
    for (const handle of handles) backend.free(handle);
    backend.free(backend.alloc(5));
    expect(backend.memory()).toMatchObject({ liveBytes: 0, peakBytes: 30, threads: 1 });
  });
});

describe("elementwise", () => {
  test.each([
    ["neg", [-2, 3], [2, -3]],
    ["abs", [-2, 3], [2, 3]],
    ["exp", [0, 1], [1, Math.E]],
    ["log", [1, Math.E], [0, 1]],
    ["sqrt", [4, 2], [2, Math.SQRT2]],
    ["relu", [-2, 3, Number.NaN], [0, 3, Number.NaN]],
    ["leakyRelu", [-2, 3], [-0.2, 3]],
    ["sigmoid", [0, Math.log(3), -1000], [0.5, 0.75, 0]],
    ["tanh", [0, Math.log(2)], [0, 0.6]],
  ] as const)("unary %s", async (op, x, expected) => {
    const { out } = await resultsOf({ x: f64(...x), out: f64Out(x.length) }, (backend, o) =>
      backend.unary(op, o.x, o.out, 0.1),
    );
    expectValues(out, ...expected);
  });

  test.each([
    ["add", [3, 8, 3]],
    ["sub", [1, -2, -1]],
    ["mul", [2, 15, 2]],
    ["div", [2, 0.6, 0.5]],
    ["pow", [2, 243, 1]],
    ["maximum", [2, 5, 2]],
    ["minimum", [1, 3, 1]],
  ] as const)("binary %s", async (op, expected) => {
    const { out } = await resultsOf(
      { a: f64(2, 3, 1), b: f64(1, 5, 2), out: f64Out(3) },
      (backend, o) =>
        backend.binary(op, o.a, o.b, o.out, { shape: [3], aStrides: [1], bStrides: [1] }),
    );
    expectValues(out, ...expected);
  });

  test("pow is C's where JavaScript's differs", async () => {
    const { out } = await resultsOf(
      { a: f64(1, 1, -1, -1), b: f64(Number.NaN, Infinity, Infinity, Number.NaN), out: f64Out(4) },
      (backend, o) =>
        backend.binary("pow", o.a, o.b, o.out, { shape: [4], aStrides: [1], bStrides: [1] }),
    );
    expectValues(out, 1, 1, 1, Number.NaN);
  });

  test("int32 products wrap without losing low bits", async () => {
    const given = {
      a: ints(2147483647, 65536, -3),
      b: ints(2147483647, 65537, 5),
      out: output(3, "int32"),
    };
    const { out } = await resultsOf(given, (backend, o) =>
      backend.binary("mul", o.a, o.b, o.out, { shape: [3], aStrides: [1], bStrides: [1] }),
    );
    expectValues(out, 1, 65536, -15);
  });

  test("binary broadcasts by strides", async () => {
    const layout = { shape: [2, 3], aStrides: [3, 1], bStrides: [1, 0] };
    const { out } = await resultsOf(
      { a: f64(1, 2, 3, 4, 5, 6), b: f64(10, 20), out: f64Out(6) },
      (backend, o) => backend.binary("add", o.a, o.b, o.out, layout),
    );
    expectValues(out, 11, 12, 13, 24, 25, 26);
  });

  test.each([
    ["eq", [0, 1, 0, 0]],
    ["ne", [1, 0, 1, 1]],
    ["lt", [1, 0, 0, 0]],
    ["le", [1, 1, 0, 0]],
    ["gt", [0, 0, 1, 0]],
    ["ge", [0, 1, 1, 0]],
  ] as const)("compare %s", async (op, expected) => {
    const { out } = await resultsOf(
      { a: f64(1, 2, 3, Number.NaN), b: f64(2, 2, 2, Number.NaN), out: output(4, "bool") },
      (backend, o) =>
        backend.compare(op, o.a, o.b, o.out, { shape: [4], aStrides: [1], bStrides: [1] }),
    );
    expectValues(out, ...expected);
  });

  test("cast truncates to integers, and to bool asks for not 0", async () => {
    const given = { x: f64(-1.9, 0.5, 0), whole: output(3, "int32"), flag: output(3, "bool") };
    const { whole, flag } = await resultsOf(given, (backend, o) => {
      backend.cast(o.x, o.whole);
      backend.cast(o.x, o.flag);
    });
    expectValues(whole, -1, 0, 0);
    expectValues(flag, 1, 1, 0);
  });

  test("stridedCopy transposes", async () => {
    const { out } = await resultsOf({ x: f64(1, 2, 3, 4, 5, 6), out: f64Out(6) }, (backend, o) =>
      backend.stridedCopy(o.x, o.out, { shape: [3, 2], strides: [1, 3] }),
    );
    expectValues(out, 1, 4, 2, 5, 3, 6);
  });

  test("dropout keeps where the hash is at least p, and scales by 1 / (1 - p)", async () => {
    const x = Array.from({ length: 200 }, (_, i) => i + 1);
    const { out } = await resultsOf({ x: f64(...x), out: f64Out(200) }, (backend, o) =>
      backend.dropout(o.x, o.out, 0.2, 42),
    );
    const kept = x.map((_, i) => hashUniform(42, i) >= 0.2);
    expectValues(out, ...x.map((value, i) => Number(kept[i]) * value * 1.25));
    expect(kept.filter(Boolean).length).toBeGreaterThan(140);
    expect(kept.filter(Boolean).length).toBeLessThan(180);
  });
});

describe("reduce, softmax, indexing", () => {
  test.each([
    ["sum", [6, 9, 60, 90]],
    ["mean", [2, 3, 20, 30]],
    ["max", [3, 5, 30, 50]],
    ["min", [1, 1, 10, 10]],
  ] as const)("reduce %s along the middle axis", async (op, expected) => {
    const x = f64(1, 5, 2, 1, 3, 3, 10, 50, 20, 10, 30, 30);
    const { out } = await resultsOf({ x, out: f64Out(4) }, (backend, o) =>
      backend.reduce(op, o.x, o.out, { outer: 2, length: 3, inner: 2 }),
    );
    expectValues(out, ...expected);
  });

  test("an empty line sums to 0 and has mean NaN", async () => {
    const given = { x: f64(), sum: f64Out(2), mean: f64Out(2) };
    const layout = { outer: 2, length: 0, inner: 1 };
    const { sum, mean } = await resultsOf(given, (backend, o) => {
      backend.reduce("sum", o.x, o.sum, layout);
      backend.reduce("mean", o.x, o.mean, layout);
    });
    expectValues(sum, 0, 0);
    expectValues(mean, Number.NaN, Number.NaN);
  });

  test("argmax takes the first of equals, NaN before all", async () => {
    const x = f64(1, 3, 3, 2, Number.NaN, Infinity);
    const { out } = await resultsOf({ x, out: output(2, "int32") }, (backend, o) =>
      backend.argmax(o.x, o.out, { outer: 2, length: 3, inner: 1 }),
    );
    expectValues(out, 1, 1);
  });

  test("softmax of log(1), log(2), log(5) is 1/8, 2/8, 5/8", async () => {
    const x = f64(0, Math.log(2), Math.log(5));
    const layout = { outer: 1, length: 3, inner: 1 };
    const { plain, log } = await resultsOf(
      { x, plain: f64Out(3), log: f64Out(3) },
      (backend, o) => {
        backend.softmax(o.x, o.plain, layout, false);
        backend.softmax(o.x, o.log, layout, true);
      },
    );
    expectValues(plain, 0.125, 0.25, 0.625);
    expectValues(log, -Math.log(8), -Math.log(4), -Math.log(1.6));
  });

  // Two groups of two; an index one too low or too high would lead into the other group.
  const layout = { outer: 2, length: 2, inner: 1, picks: 3 };
  const index = ints(1, 0, 2, -1, 1, 1);

  test("gather picks, and gives NaN or 0 for an index outside", async () => {
    const given = {
      ...{ x: f64(1, 2, 3, 4), whole: ints(1, 2, 3, 4), index },
      ...{ out: f64Out(6), wholeOut: output(6, "int32") },
    };
    const { out, wholeOut } = await resultsOf(given, (backend, o) => {
      backend.gather(o.x, o.index, o.out, layout);
      backend.gather(o.whole, o.index, o.wholeOut, layout);
    });
    expectValues(out, 2, 1, Number.NaN, Number.NaN, 4, 4);
    expectValues(wholeOut, 2, 1, 0, 0, 4, 4);
  });

  test("scatterAdd adds to what is there, and passes over an index outside", async () => {
    const given = { x: f64(1, 2, 3, 4, 5, 6), index, sum: inout([10, 20, 30, 40], "float64") };
    const { sum } = await resultsOf(given, (backend, o) =>
      backend.scatterAdd(o.x, o.index, o.sum, layout),
    );
    expectValues(sum, 12, 21, 30, 51);
  });
});
