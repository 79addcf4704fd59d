import { describe, expect, test } from "vitest";
import { optim, tensor } from "../src/index.ts";
import { expectClose, tolerance } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

const makers = { SGD: optim.SGD, Adam: optim.Adam };

interface Case {
  readonly name: string;
  readonly optimizer: keyof typeof makers;
  readonly options: { readonly lr: number };
}

const fixture = new Fixture("optimizers");
const cases = readCases<Case>("optimizers");
const names = ["matrix", "vector"] as const;
const steps = fixture.get("gradients/vector").shape[0];
const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

test("the fixtures cover every optimizer of the table, ten steps each", () => {
  expect(new Set(cases.map(({ optimizer }) => optimizer))).toEqual(new Set(Object.keys(makers)));
  expect(steps).toBe(10);
});

describe.each(placements)("$dtype on $device agrees with PyTorch after every step", (place) => {
  test.each(cases)("$name: $options", async ({ name, optimizer, options }) => {
    const parameters = names.map((key) =>
      fixture.tensor(`initial/${key}`, { ...place, requiresGrad: true }),
    );
    const stepper = new makers[optimizer](parameters, options);
    for (let step = 0; step < steps; step++) {
      stepper.zeroGrad();
      for (const [i, { shape }] of parameters.entries()) {
        const gradient = atStep(`gradients/${names[i]}`, step);
        parameters[i].grad = tensor(gradient, { ...place, shape });
      }
      stepper.step();
      for (const [i, parameter] of parameters.entries()) {
        const expected = atStep(`${name}/${names[i]}`, step);
        const label = `${names[i]} after step ${step}`;
        expectClose(await parameter.data(), expected, tolerance[place.dtype], label);
      }
    }
  });
});

/** Entry `step` of a recording stacked along its first axis. */
function atStep(key: string, step: number) {
  const { values } = fixture.get(key);
  const size = values.length / steps;
  return values.slice(step * size, (step + 1) * size);
}
