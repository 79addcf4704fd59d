import { expect, test } from "vitest";
import { nn, type Tensor } from "../src/index.ts";
import { replaceModules } from "../src/nn/replace-modules.ts";

class Net extends nn.Module {
  static override readonly kind = "Net";
  readonly norm1 = new nn.BatchNorm1d(2);
  readonly blocks = [new nn.Sequential(new nn.Linear(2, 2), new nn.BatchNorm1d(2)), new nn.ReLU()];
  readonly shared = this.norm1;
  readonly upNorm = new nn.BatchNorm1d(2);

  forward(x: Tensor): Tensor {
    return this.blocks.reduce((y, block) => block(y), this.norm1(x));
  }
}

const toIdentity = (module: nn.Module) => (nn.isBatchNorm(module) ? new nn.Identity() : null);

test("modules are replaced in properties, containers and arrays, everything else stays", () => {
  const model = new Net();
  const [block, relu] = model.blocks;
  const linear = model.blocks[0].namedChildren()[0][1];
  expect(replaceModules(model, toIdentity)).toBe(model);
  expect(model.namedModules().map(([path, { kind }]) => `${path}:${kind}`)).toEqual([
    ":Net",
    "norm1:Identity",
    "blocks.0:Sequential",
    "blocks.0.0:Linear",
    "blocks.0.1:Identity",
    "blocks.1:ReLU",
    "up_norm:Identity",
  ]);
  expect([model.blocks[0] === block, model.blocks[1] === relu]).toEqual([true, true]);
  expect(model.blocks[0].namedChildren()[0][1]).toBe(linear);
});

test("a module in two places is shown once and replaced by one new module in both", () => {
  const model = new Net();
  const seen: string[] = [];
  replaceModules(model, (module, path) => {
    seen.push(path);
    return toIdentity(module);
  });
  expect(seen).toEqual(model.namedModules().map(([path]) => path));
  expect(model.shared.kind).toBe("Identity");
  expect(model.shared).toBe(model.norm1);
});

test("a root that matches is returned replaced", () => {
  const norm = new nn.BatchNorm1d(2);
  expect(replaceModules(norm, toIdentity).kind).toBe("Identity");
});

test("what is inside a replaced module is not visited, so a wrapper may hold the old one", () => {
  const model = new nn.Sequential(new nn.Sequential(new nn.BatchNorm1d(2)));
  const paths: string[] = [];
  replaceModules(model, (module, path) => {
    paths.push(path);
    return path === "0" && module instanceof nn.Sequential ? new nn.Sequential(module) : null;
  });
  expect(paths).toEqual(["", "0"]);
  expect(model.namedModules().map(([path]) => path)).toEqual(["", "0", "0.0", "0.0.0"]);
});

test("nothing is written when the function throws, or where a place is read-only", () => {
  const model = new Net();
  const before = String(model);
  const failing = (module: nn.Module, path: string) => {
    if (path === "up_norm") throw new RangeError("no");
    return toIdentity(module);
  };
  expect(() => replaceModules(model, failing)).toThrow(new RangeError("no"));
  expect(String(model)).toBe(before);
  Object.defineProperty(model, "upNorm", { writable: false });
  expect(() => replaceModules(model, toIdentity)).toThrow(
    "replaceModules: expected a property that can be written to at up_norm, got a read-only one",
  );
  expect(String(model)).toBe(before);
  const frozen = new Net();
  Object.freeze(frozen.blocks);
  const drop = (module: nn.Module) => (module instanceof nn.ReLU ? new nn.Identity() : null);
  expect(() => replaceModules(frozen, drop)).toThrow("at blocks.1, got a frozen array");
});
