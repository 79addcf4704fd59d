/** Residual sum and ReLU in the same pass as batch norm: values, gradients and statistics are those of separate operations. */
import { describe, expect, test } from "vitest";
import { nn, type Tensor, tensor } from "../../src/index.ts";
import { expectClose, expectSameBytes, tolerance } from "../support/close.ts";
import { distinct, normals } from "../support/random.ts";
import { placements } from "./coverage.ts";

const { batchNorm } = nn.functional;
const C = 5;
const flags = [false, true];
const variants = flags.flatMap((training) =>
  flags.flatMap((affine) =>
    [
      { residual: true, relu: false },
      { residual: false, relu: true },
      { residual: true, relu: true },
    ].map((epilogue) => ({ training, affine, ...epilogue })),
  ),
);
const shapes = { "(7, 5)": [7, C], "(3, 5, 9)": [3, C, 9], "(2, 5, 7, 7)": [2, C, 7, 7] } as const;

function read(t: Tensor | null | undefined): Float64Array {
  return Float64Array.from(t?.dataSync() ?? []);
}

describe.each(placements)("$dtype on $device", (place) => {
  describe.each(Object.entries(shapes))("x of shape %s", (_, shape) => {
    const size = shape.reduce<number>((product, length) => product * length, 1);
    const parameters = () => {
      const make = (values: ArrayLike<number>, of: readonly number[] = [C]) =>
        tensor(Float64Array.from(values), { ...place, shape: of, requiresGrad: true });
      return {
        x: make(distinct(size, { seed: 1, low: -2, high: 4 }), shape),
        residual: make(distinct(size, { seed: 2 }), shape),
        weight: make(distinct(C, { seed: 3 })),
        bias: make(distinct(C, { seed: 4 })),
      };
    };
    const statistics = () => ({
      mean: tensor(distinct(C, { seed: 5 }), place),
      variance: tensor(distinct(C, { seed: 6, low: 0.3, high: 3 }), place),
    });

    test.each(variants)(
      "training $training, affine $affine, residual $residual, relu $relu",
      (variant) => {
        const { training, affine } = variant;
        const run = (isFused: boolean) => {
          const { x, residual, weight, bias } = parameters();
          const { mean, variance } = statistics();
          const options = { training, ...(affine && { weight, bias }) };
          const y = isFused
            ? batchNorm(x, mean, variance, {
                ...options,
                relu: variant.relu,
                residual: variant.residual ? residual : null,
              })
            : apart(
                batchNorm(x, mean, variance, options),
                variant.residual ? residual : null,
                variant.relu,
              );
          y.backward(tensor(normals(size, 7), { ...place, shape }));
          const gradients = {
            dx: x.grad,
            dResidual: residual.grad,
            dWeight: weight.grad,
            dBias: bias.grad,
          };
          return { y, ...gradients, mean, variance };
        };
        const [fused, separate] = [run(true), run(false)];
        for (const name of ["y", "dx", "dResidual", "dWeight", "dBias"] as const) {
          expectClose(read(fused[name]), read(separate[name]), tolerance[place.dtype], name);
        }
        expectSameBytes(read(fused.mean), read(separate.mean));
        expectSameBytes(read(fused.variance), read(separate.variance));
        expect(read(fused.dResidual)).toHaveLength(variant.residual ? size : 0);
        expect(read(fused.dWeight)).toHaveLength(affine ? C : 0);
      },
    );
  });

  test("an empty batch with both stays empty and gives the residual an empty gradient", () => {
    const make = () => tensor([], { ...place, shape: [0, C], requiresGrad: true });
    const [x, residual] = [make(), make()];
    batchNorm(x, null, null, { training: true, residual, relu: true }).sum().backward();
    expect([x.grad?.shape, residual.grad?.shape]).toEqual([
      [0, C],
      [0, C],
    ]);
  });
});

function apart(normalised: Tensor, residual: Tensor | null, relu: boolean): Tensor {
  const sum = residual === null ? normalised : normalised.add(residual);
  return relu ? sum.relu() : sum;
}
