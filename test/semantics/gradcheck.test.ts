/** Gradients of every option of batch norm against central differences, in float64, with random cotangents and directions. */
import { describe, test } from "vitest";
import { nn, type Tensor, tensor } from "../../src/index.ts";
import { expectGradients } from "../support/gradcheck.ts";
import { normals } from "../support/random.ts";

const flags = [false, true];
const variants = flags.flatMap((training) =>
  flags.flatMap((weight) =>
    flags.flatMap((bias) =>
      flags.flatMap((residual) =>
        flags.map((relu) => ({ training, weight, bias, residual, relu })),
      ),
    ),
  ),
);
type Variant = (typeof variants)[number];

const C = 3;
const shapes = { "(5, 3)": [5, C], "(2, 3, 4)": [2, C, 4], "(2, 3, 2, 3)": [2, C, 2, 3] };

function buffers(): Tensor[] {
  const values = [normals(C, 1), normals(C, 2).map((v) => v * v + 0.1)];
  return values.map((v) => tensor(v, { device: "reference" }));
}

/** The inputs that a variant differentiates by, x first, with their shapes. */
function inputsOf(variant: Variant, shape: readonly number[]) {
  const all = { weight: [C], bias: [C], residual: shape };
  const used = (["weight", "bias", "residual"] as const).filter((name) => variant[name]);
  return [["x", shape] as const, ...used.map((name) => [name, all[name]] as const)];
}

describe.each(Object.entries(shapes))("x of shape %s", (_, shape) => {
  test.each(variants)(
    "training $training, weight $weight, bias $bias, residual $residual, relu $relu",
    (variant) => {
      const { training, relu } = variant;
      const inputs = inputsOf(variant, shape);
      const forward = (x: Tensor, ...rest: Tensor[]) => {
        const [mean, variance] = buffers();
        const named = Object.fromEntries(rest.map((t, i) => [inputs[i + 1][0], t]));
        return nn.functional.batchNorm(x, mean, variance, { ...named, training, relu, eps: 0.01 });
      };
      const cases = inputs.map(([, of]) => ({ shape: of }));
      for (const seed of [1, 2, 3]) expectGradients(forward, cases, seed);
    },
  );
});
