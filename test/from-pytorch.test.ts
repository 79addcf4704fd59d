import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as evenkeel from "../src/index.ts";

const page = readFileSync("docs/from-pytorch.md", "utf8");
/** The code in the middle column of every table. */
const spans = page
  .split("\n")
  .filter((line) => line.startsWith("| `"))
  .flatMap((line) => [...line.split(" | ")[1].matchAll(/`([^`]+)`/g)].map(([, code]) => code));

const { nn, optim, tensor } = evenkeel;
const layer = new nn.Sequential(new nn.Linear(1, 1));
/** What the names that a table takes as given stand for. */
const given: Readonly<Record<string, object>> = {
  ...evenkeel,
  ...{ x: tensor([1]), a: tensor([1]), loss: tensor([1]) },
  ...{ model: layer, seq: layer, opt: new optim.SGD(layer.parameters()) },
  loader: new evenkeel.data.DataLoader(new evenkeel.data.TensorDataset(tensor([1]))),
};

/** The part of `code` that names something of the library: "nn.Conv2d", "x.slice". */
function pathOf(code: string): string | null {
  const path = /^(?:await |new )?([\w.]+)/.exec(code)?.[1] ?? "";
  return path.startsWith("class") || path.startsWith("forward") || path.startsWith("console")
    ? null
    : path;
}

function find(path: string): unknown {
  return path.split(".").reduce((of: unknown, name) => Reflect.get(Object(of), name), given);
}

describe("docs/from-pytorch.md", () => {
  const paths = [...new Set(spans.map(pathOf).filter((path) => path !== null))];

  test("has tables", () => {
    expect(paths.length).toBeGreaterThan(100);
  });

  test.each(paths)("%s is there", (path) => {
    expect(find(path)).toBeDefined();
  });

  test("names every layer, loss and optimizer, in one of its dimensions", () => {
    const classes = Object.entries({ ...nn, ...optim }).filter(
      ([, value]) => typeof value === "function" && /^class\b/.test(String(value)),
    );
    const missing = classes.filter(([name]) => {
      const family = name.replace(/\dd$/, "");
      return !isAbstract(name) && !new RegExp(`\\b${family}(\\dd)?\\b`).test(page);
    });
    expect(missing.map(([name]) => name)).toEqual([]);
  });
});

/** Bases that users extend rather than make. */
function isAbstract(name: string): boolean {
  return name === "Optimizer";
}
