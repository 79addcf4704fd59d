/** The reference backend's pooling kernels against numbers worked out by hand. */
import { describe, test } from "vitest";
import type { AvgPoolLayout, PoolAxis, PoolLayout } from "../../src/backend/backend.ts";
import { expectValues, f64, f64Out, ints, resultsOf } from "../support/by-hand.ts";
import { type Given, output } from "../support/kernel-case.ts";

const point: PoolAxis = { size: 1, out: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };
const nine = f64(-1, -2, -3, -4, -5, -6, -7, -8, -9);
/** Windows of 2 on 3 positions with padding: [0], [1, 2]. */
const pairs = { ...point, size: 3, out: 2, kernel: 2, stride: 2, padding: 1 };

function over(depth: PoolAxis, height: PoolAxis, width: PoolAxis): PoolLayout {
  return { planes: 1, axes: [depth, height, width], isAdaptive: false };
}

function maxPool(x: Given, count: number, layout: PoolLayout) {
  const given = { x, y: f64Out(count), indices: output(count, "int32") };
  return resultsOf(given, (backend, o) => backend.maxPool(o.x, o.y, o.indices, layout));
}

async function avgPool(x: Given, count: number, layout: AvgPoolLayout) {
  const { y } = await resultsOf({ x, y: f64Out(count) }, (backend, o) =>
    backend.avgPool(o.x, o.y, layout),
  );
  return y;
}

describe("maxPool", () => {
  test("ignores padding and reports positions in the plane", async () => {
    const { y, indices } = await maxPool(nine, 4, over(point, pairs, pairs));
    expectValues(y, -1, -2, -4, -5);
    expectValues(indices, 0, 1, 3, 4);
  });

  test("counts depth in its positions and steps by the dilation", async () => {
    const corners = { ...point, size: 3, kernel: 2, dilation: 2 };
    const x = f64(...[0, 9, 0, 9, 9, 9, 0, 9, 0], ...[0, 9, 0, 9, 9, 9, 4, 9, 0]);
    const layout = over({ ...point, size: 2, kernel: 2 }, corners, corners);
    const { y, indices } = await maxPool(x, 1, layout);
    expectValues(y, 4);
    expectValues(indices, 15);
  });

  test("takes the first of equals and the last NaN", async () => {
    const layout = over(point, point, { ...point, size: 4, out: 2, kernel: 3 });
    const equals = await maxPool(f64(5, 5, 1, 5), 2, layout);
    expectValues(equals.y, 5, 5);
    expectValues(equals.indices, 0, 1);
    const nans = await maxPool(f64(Number.NaN, Infinity, Number.NaN, 1), 2, layout);
    expectValues(nans.y, Number.NaN, Number.NaN);
    expectValues(nans.indices, 2, 2);
  });

  test("gives -Infinity and -1 where a window steps over x, and its gradient goes nowhere", async () => {
    const layout = over(point, point, { ...point, size: 2, kernel: 2, padding: 1, dilation: 3 });
    const { y, indices } = await maxPool(f64(1, 2), 1, layout);
    expectValues(y, -Infinity);
    expectValues(indices, -1);
    const given = { dy: f64(7), indices: ints(-1), dx: f64Out(2) };
    const { dx } = await resultsOf(given, (backend, o) =>
      backend.maxPoolGrad(o.dy, o.indices, o.dx, layout),
    );
    expectValues(dx, 0, 0);
  });
});

describe("avgPool", () => {
  test("counts padding as zeros", async () => {
    const y = await avgPool(nine, 4, { ...over(point, pairs, pairs), divisor: "padded" });
    expectValues(y, -0.25, -1.25, -2.75, -7);
  });

  test("divides by the positions in x, or by a number", async () => {
    const layout = over(point, pairs, pairs);
    expectValues(await avgPool(nine, 4, { ...layout, divisor: "inside" }), -1, -2.5, -5.5, -7);
    expectValues(await avgPool(nine, 4, { ...layout, divisor: 2 }), -0.5, -2.5, -5.5, -14);
  });

  test("counts nothing beyond the right padding", async () => {
    // [0, 1, 2], [3, 4] of five; then [pad, 0, 1], [2, 3, 4], [5, pad] of six.
    const five = over(point, point, { ...point, size: 5, out: 2, kernel: 3, stride: 3 });
    const x = f64(3, 6, 9, 12, 24);
    expectValues(await avgPool(x, 2, { ...five, divisor: "padded" }), 6, 18);
    const six = { ...point, size: 6, out: 3, kernel: 3, stride: 3, padding: 1 };
    const y = await avgPool(f64(3, 6, 9, 12, 24, 8), 3, {
      ...over(point, point, six),
      divisor: "padded",
    });
    expectValues(y, 3, 15, 4);
  });

  test("cuts evenly in windows that overlap where sizes do not divide", async () => {
    const layout = { ...over(point, point, { ...point, size: 5, out: 3 }), isAdaptive: true };
    // [0, 2), [1, 4), [3, 5)
    const y = await avgPool(f64(1, 3, 5, 10, 20), 3, { ...layout, divisor: "inside" });
    expectValues(y, 2, 6, 15);
  });
});
