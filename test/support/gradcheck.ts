import { expect } from "vitest";
import { Generator } from "../../src/core/random.ts";
import { scope, type Tensor, tensor } from "../../src/index.ts";

export interface GradcheckCase {
  readonly shape: readonly number[];
  /** Values are drawn uniformly from here; keeps away from kinks and poles. */
  readonly range?: readonly [number, number];
}

const step = 1e-6;

/**
 * Compares <dL/dx, u>, from one backward pass with a random cotangent, with the central difference of L along one random direction u
 * of all inputs at once. In float64 on the reference device. Only a random cotangent sees errors that the sum of outputs hides.
 */
export function expectGradients(
  f: (...inputs: Tensor[]) => Tensor,
  cases: readonly GradcheckCase[],
  seed = 1,
): void {
  const random = new Generator(seed);
  const draw = (length: number, [low, high]: readonly [number, number]) =>
    Float64Array.from({ length }, () => low + (high - low) * random.uniform());
  const sizes = cases.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  const points = cases.map(({ range = [-2, 2] }, i) => draw(sizes[i], range));
  const directions = sizes.map((size) => draw(size, [-1, 1]));
  const inputsAt = (t: number, requiresGrad: boolean) =>
    points.map((point, i) =>
      tensor(
        point.map((v, j) => v + t * directions[i][j]),
        { shape: cases[i].shape, device: "reference", dtype: "float64", requiresGrad },
      ),
    );
  const outputSize = scope(() => f(...inputsAt(0, false)).size);
  const cotangent = draw(outputSize, [-1, 1]);
  const lossAt = (t: number) =>
    scope(() => {
      const values = f(...inputsAt(t, false)).dataSync();
      return cotangent.reduce((sum, c, i) => sum + c * values[i], 0);
    });

  const inputs = inputsAt(0, true);
  const y = f(...inputs);
  y.backward(tensor(cotangent, { shape: y.shape, device: "reference", dtype: "float64" }));
  const slope = inputs.reduce((sum, input, i) => {
    expect(input.grad, `gradient of input ${i}`).not.toBeNull();
    const gradient = Array.from(input.grad?.dataSync() ?? []);
    return gradient.reduce((inner, g, j) => inner + g * directions[i][j], sum);
  }, 0);
  const measured = (lossAt(step) - lossAt(-step)) / (2 * step);
  // PyTorch's gradcheck pair for float64 with this step: rtol 1e-3, atol 1e-5; ours is tighter since one number is compared.
  expect(Math.abs(slope - measured), `slope ${slope}, measured ${measured}`).toBeLessThan(
    1e-6 + 1e-6 * Math.abs(measured),
  );
}
