/** Transforms against the PyTorch functions that torchvision's are made of. */
import { describe, expect, test } from "vitest";
import { data } from "../src/index.ts";
import { expectClose, expectSameBytes } from "./support/close.ts";
import { Fixture, readCases } from "./support/fixtures.ts";

type Case =
  | { readonly name: string; readonly op: "resize"; readonly size: readonly [number, number] }
  | {
      readonly name: string;
      readonly op: "normalize";
      readonly mean: readonly number[];
      readonly std: readonly number[];
    };

const fixture = new Fixture("transforms");
const cases = readCases<Case>("transforms");
const { normalize, resize } = data.transforms;

function image(key: string): data.HostTensor {
  const { values, shape } = fixture.get(key);
  return { data: values, shape };
}

describe("resize gives what PyTorch's antialiased bilinear interpolation gives", () => {
  test.each(cases.filter((found) => found.op === "resize"))("$name to $size", ({ name, size }) => {
    const scaled = resize(size)(image(`${name}/image`));
    expect(scaled.shape).toEqual(fixture.get(`${name}/out`).shape);
    expectClose(scaled.data, fixture.values(`${name}/out`));
  });
});

describe("normalize gives PyTorch's bits", () => {
  const found = cases.filter(({ op }) => op === "normalize");
  test.each(found as Extract<Case, { op: "normalize" }>[])("$name", ({ name, mean, std }) => {
    const changed = normalize(mean, std)(image(`${name}/image`));
    expectSameBytes(changed.data, fixture.values(`${name}/out`));
  });
});
