/** What the models of `models` take, refuse and can be changed to. */
import { describe, expect, test } from "vitest";
import { ArgumentError, manualSeed, memory, models, nn, randn, type Tensor } from "../src/index.ts";

const makers = Object.entries(models);

/** Values of a norm's weight, each once. */
function weightsOf({ weight }: nn.BatchNorm2d): number[] {
  return [...new Set(weight?.dataSync())];
}

describe.each(makers)("%s", (name, make) => {
  test.each([0, -1, 2.5, Number.NaN, Number.POSITIVE_INFINITY])(
    "refuses %d classes before anything is allocated",
    (numClasses) => {
      const before = memory().tensors;
      expect(() => make({ numClasses })).toThrow(
        new ArgumentError({
          op: `models.${name}`,
          expected: "numClasses to be a whole number >= 1",
          actual: String(numClasses),
        }),
      );
      expect(() => make({ numClasses })).toThrow(ArgumentError);
      expect(memory().tensors).toBe(before);
    },
  );
});

describe.each(["vgg11Bn", "vgg16Bn", "mobilenetV2"] as const)("%s", (name) => {
  test.each([-0.1, 1.1, Number.NaN])("refuses dropout %d", (dropout) => {
    expect(() => models[name]({ dropout })).toThrow(ArgumentError);
    expect(() => models[name]({ dropout })).toThrow(/^models\./);
  });
});

test("numClasses is the number of logits, also of one image", () => {
  const model = models.mobilenetV2({ numClasses: 7 }).eval();
  expect(model(randn([1, 3, 33, 47])).shape).toEqual([1, 7]);
});

test("dropout goes to the layer before the classes", () => {
  const model = models.mobilenetV2({ numClasses: 1, dropout: 0.75 });
  const [dropout] = model.classifier.toArray();
  expect(String(dropout)).toBe("Dropout(p=0.75, inplace=False)");
});

describe.each([
  { name: "resnet18", last: "bn2" },
  { name: "resnet50", last: "bn3" },
] as const)("$name", ({ name, last }) => {
  test(`begins with weight 0 in every block's ${last} under zeroInitResidual, and 1 elsewhere`, () => {
    const model = models[name]({ numClasses: 1, zeroInitResidual: true });
    const norms = model.namedModules().flatMap(([path, module]) => {
      const isLast = path.includes("layer") && path.endsWith(last);
      return module instanceof nn.BatchNorm2d ? [{ isLast, weights: weightsOf(module) }] : [];
    });
    const [zeros, others] = [true, false].map((flag) => norms.filter((n) => n.isLast === flag));
    expect(zeros.flatMap(({ weights }) => weights)).toEqual(zeros.map(() => 0));
    expect(others.flatMap(({ weights }) => weights)).toEqual(others.map(() => 1));
    expect(zeros.length).toBe(model.modules().filter(({ kind }) => /^B.+k$/.test(kind)).length);
  });
});

test("ResNet draws convolutions from a normal distribution, fc from a uniform one", () => {
  manualSeed(1);
  const model = models.resnet18();
  const reach = (x: Tensor | null) => Math.max(...Array.from(x?.dataSync() ?? [], Math.abs));
  const bound = 1 / Math.sqrt(512);
  expect(reach(model.layer1.at(0).parameters()[0])).toBeGreaterThan(3 * Math.sqrt(2 / (64 * 9)));
  expect(reach(model.fc.bias)).toBeGreaterThan(0.98 * bound);
  expect(reach(model.fc.bias)).toBeLessThanOrEqual(bound);
});

test("another fc trains the features for other classes", () => {
  const model = models.resnet18({ numClasses: 1 });
  model.setRequiresGrad(false);
  model.fc = new nn.Linear(model.fc.inFeatures, 5);
  model(randn([2, 3, 32, 32]))
    .sum()
    .backward();
  const learning = model.namedParameters().filter(([, { grad }]) => grad !== null);
  expect(learning.map(([key]) => key)).toEqual(["fc.weight", "fc.bias"]);
});

test("summary tells the shapes on the way through resnet18", () => {
  const { rows } = nn.summary(models.resnet18(), [1, 3, 224, 224]);
  const shapes = Object.fromEntries(rows.map(({ name, outputShape }) => [name, outputShape]));
  expect(shapes).toMatchObject({
    maxpool: "(1, 64, 56, 56)",
    layer1: "(1, 64, 56, 56)",
    layer2: "(1, 128, 28, 28)",
    layer3: "(1, 256, 14, 14)",
    layer4: "(1, 512, 7, 7)",
    avgpool: "(1, 512, 1, 1)",
    "": "(1, 1000)",
  });
});
