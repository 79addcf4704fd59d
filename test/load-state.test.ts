/** `loadStateDict`: what it says of keys that do not fit, opened files, prefixes, and conversions. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { ArgumentError, checkpoint, models, nn, StateDictError, tensor } from "../src/index.ts";
import { fixtureFolder } from "./support/fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "evenkeel-load-"));
afterAll(() => rmSync(folder, { recursive: true }));

class Net extends nn.Module {
  static override readonly kind: string = "Net";
  conv = new nn.Conv2d(1, 2, 3);
  bn = new nn.BatchNorm2d(2);
  fc = new nn.Linear(8, 3);
  forward(): void {}
}

class Wrapper extends nn.Module {
  static override readonly kind: string = "Wrapper";
  backbone = new Net();
  forward(): void {}
}

const entriesOf = (model: nn.Module) => [...model.stateDict()];
const prefixed = (prefix: string, model: nn.Module) =>
  new Map(entriesOf(model).map(([key, value]) => [prefix + key, value]));

function failure(load: () => unknown): StateDictError {
  try {
    load();
  } catch (error) {
    expect(error).toBeInstanceOf(StateDictError);
    return error as StateDictError;
  }
  throw new Error("it loaded");
}

const values = (model: nn.Module) =>
  entriesOf(model).map(([key, value]) => [
    key,
    typeof value === "number" ? value : Array.from(value.dataSync()),
  ]);

describe("keys that do not fit", () => {
  test("are listed with the shapes of both sides and the nearest name", () => {
    const source = new Map(entriesOf(new Net()));
    source.set("conv.wieght", tensor([[[[1, 2]]]]));
    source.delete("conv.weight");
    source.set("fc.weight", tensor([[1, 2, 3]]));
    const error = failure(() => new Net().loadStateDict(source));
    expect(error.message).toContain(
      "missing conv.weight (2, 1, 3, 3) (there is conv.wieght (1, 1, 1, 2))",
    );
    expect(error.message).toContain(
      "unexpected conv.wieght (1, 1, 1, 2) (the model has conv.weight (2, 1, 3, 3))",
    );
    expect(error.message).toContain(
      "mismatched fc.weight: the model has (3, 8), the state dict (1, 3)",
    );
    expect(error.missingKeys).toEqual(["conv.weight"]);
    expect(error.unexpectedKeys).toEqual(["conv.wieght"]);
    expect(error.mismatchedKeys).toEqual(["fc.weight"]);
    expect(error.hint).toMatch(/shapes must fit also when not strict/);
  });

  test("are cut to ten in the message, and complete in the error", () => {
    const model = models.resnet18({ numClasses: 2 });
    const error = failure(() => model.loadStateDict({}));
    expect(error.message).toMatch(/conv1\.weight .*and 92 more/);
    // Counters are not missed where there are no versions: old files have none.
    const keys = [...model.stateDict().keys()].filter((key) => !key.endsWith("tracked"));
    expect(error.missingKeys).toEqual(keys);
  });

  test.each(["module.", "model.", "_orig_mod.", "encoder.backbone."])(
    "behind %s say so, and prefix loads them",
    (prefix) => {
      const source: Map<string, nn.StateEntry> = prefixed(prefix, new Net());
      source.set("n_averaged", 3);
      const model = new Net();
      const { hint } = failure(() => model.loadStateDict(source));
      expect(hint).toContain(`pass { prefix: "${prefix}" }`);
      expect(model.loadStateDict(source, { prefix })).toEqual({
        missingKeys: [],
        unexpectedKeys: [],
      });
      const loaded = new Map([...source].map(([key, value]) => [key.slice(prefix.length), value]));
      for (const [key, value] of model.stateDict()) {
        expect(String(value)).toBe(String(loaded.get(key)));
      }
    },
  );

  test("of a part say which part", () => {
    const { hint } = failure(() => new Wrapper().loadStateDict(new Net().stateDict()));
    expect(hint).toBe("these are keys of the model's backbone: load them into that module");
  });

  const without = (pattern: RegExp) => {
    const source = new Net().stateDict();
    for (const key of [...source.keys()]) if (pattern.test(key)) source.delete(key);
    return source;
  };

  test("that are counters or statistics alone say what they mean", () => {
    const counters = failure(() => new Net().loadStateDict(without(/tracked/)));
    expect(counters.hint).toMatch(/only counters.*strict: false.*keeps the model's/);
    const statistics = failure(() => new Net().loadStateDict(without(/running|tracked/)));
    expect(statistics.hint).toMatch(/saved without running statistics.*updateBatchNorm/);

    const untracked = new Net();
    untracked.bn = new nn.BatchNorm2d(2, { trackRunningStats: false });
    const extra = failure(() => untracked.loadStateDict(new Net().stateDict()));
    expect(extra.hint).toMatch(/model keeps no running statistics.*trackRunningStats true/);
    const counter = failure(() => untracked.loadStateDict(without(/running/)));
    expect(counter.hint).toMatch(/layers that have none.*nothing else changes/);
  });

  test("of the last layer alone say how many outputs there are", () => {
    const model = models.resnet18({ numClasses: 2 });
    const { hint } = failure(() =>
      model.loadStateDict(models.resnet18({ numClasses: 5 }).stateDict()),
    );
    expect(hint).toMatch(/last layer has 5 outputs.*numClasses.*fc\.weight and fc\.bias/);
  });

  test("nothing is written when they throw", () => {
    const model = new Net();
    const before = values(model);
    const source = new Map(entriesOf(new Net()));
    source.delete("fc.bias");
    failure(() => model.loadStateDict(source));
    expect(values(model)).toEqual(before);
  });
});

describe("prefix", () => {
  test("finds the versions of the modules' layouts too", () => {
    const source = new Wrapper().stateDict();
    source.delete("backbone.bn.num_batches_tracked");
    // Version 2 must have the counter; without versions, an old file, it may be missing.
    expect(
      failure(() => new Net().loadStateDict(source, { prefix: "backbone." })).missingKeys,
    ).toEqual(["bn.num_batches_tracked"]);
    const old = new Map(source);
    expect(new Net().loadStateDict(old, { prefix: "backbone." }).missingKeys).toEqual([]);
  });

  test("that no key has is an ArgumentError", () => {
    const load = () => new Net().loadStateDict(new Net().stateDict(), { prefix: "module." });
    expect(load).toThrow(ArgumentError);
    expect(load).toThrow(/keys that start with "module\.".*conv\.weight/);
  });
});

describe("a file that was opened", () => {
  const path = join(folder, "net.pth");

  test("loads as one that was read, one tensor at a time", async () => {
    const saved = new Net();
    await checkpoint.write(path, saved.stateDict());
    const file = await checkpoint.open(path);
    const open: string[] = [];
    let most = 0;
    const watched = {
      keys: () => file.keys(),
      info: (key: string) => file.info(key),
      metadata: file.metadata,
      get: async (key: string) => {
        const entry = await file.get(key);
        open.push(key);
        const data = () => {
          most = Math.max(most, open.length);
          open.pop();
          return entry.data();
        };
        return { ...entry, data };
      },
    };
    const model = new Net();
    expect(await model.loadStateDict(watched)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expect(values(model)).toEqual(values(saved));
    expect([most, open]).toEqual([1, []]);
    const direct = new Net();
    await direct.loadStateDict(file);
    expect(values(direct)).toEqual(values(saved));
  });

  test("is matched before its first value is read", async () => {
    const file = await checkpoint.open(path);
    const read: string[] = [];
    const watched = {
      keys: () => file.keys(),
      info: (key: string) => file.info(key),
      metadata: file.metadata,
      get: (key: string) => {
        read.push(key);
        return file.get(key);
      },
    };
    const model = new Wrapper();
    await expect(model.loadStateDict(watched)).rejects.toThrow(StateDictError);
    expect(read).toEqual([]);
  });

  test("that ends midway says how much of it was written", async () => {
    const file = await checkpoint.open(path);
    rmSync(path);
    const broken = new Net().loadStateDict(file);
    await expect(broken).rejects.toThrow(/to read conv\.weight.*0 of 9 entries.*a mix: load again/);
  });

  test("is left alone when the signal is aborted", async () => {
    await checkpoint.write(path, new Net().stateDict());
    const file = await checkpoint.open(path);
    const reason = new Error("stop");
    const model = new Net();
    const before = values(model);
    const loading = model.loadStateDict(file, { signal: AbortSignal.abort(reason) });
    await expect(loading).rejects.toBe(reason);
    expect(values(model)).toEqual(before);
  });

  test("of a training checkpoint by torch.save loads as well", async () => {
    const bytes = readFileSync(new URL("torch/training.pth", fixtureFolder));
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
    const other = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
    await model.loadStateDict(await checkpoint.open(new Blob([Uint8Array.from(bytes)])));
    other.loadStateDict(await checkpoint.read(Uint8Array.from(bytes)));
    expect(values(model)).toEqual(values(other));
  });
});

class Holder extends nn.Module {
  static override readonly kind: string = "Holder";
  declare value: ReturnType<typeof tensor> | null;
  constructor(value: ReturnType<typeof tensor>) {
    super();
    this.registerBuffer("value", value);
  }
  forward(): void {}
}

/** What a tensor of this dtype holds after loading the entry. */
function loaded(
  dtype: "float32" | "float64" | "int32" | "uint8" | "bool",
  entry: checkpoint.Entry,
): number[] {
  const device = dtype === "float64" ? "reference" : "cpu";
  const zeros = entry.shape[0] === undefined ? [] : Array(entry.shape[0]).fill(0);
  const holder = new Holder(tensor(zeros, { dtype, device }));
  holder.loadStateDict({ value: entry });
  return Array.from(holder.value?.dataSync() ?? []);
}

const entry = (dtype: checkpoint.EntryDType, data: checkpoint.EntryArray) => ({
  dtype,
  shape: [data.length],
  data: () => data.slice(),
});

describe("conversions are those of PyTorch's copy_", () => {
  // Beyond 2^53, where rounding twice goes wrong: 2^60 + 2^36 + 1 is just above the middle of two floats.
  const big = BigInt64Array.of(
    2n ** 60n + 2n ** 36n + 1n,
    -(2n ** 60n + 2n ** 36n + 1n),
    2n ** 60n + 2n ** 36n,
    7n,
  );

  test("64-bit integers are rounded once", () => {
    const up = 2 ** 60 + 2 ** 37;
    expect(loaded("float32", entry("int64", big))).toEqual([up, -up, 2 ** 60, 7]);
    const most = BigUint64Array.of(2n ** 64n - 1n, 2n ** 63n + 2n ** 39n + 1n);
    expect(loaded("float32", entry("uint64", most))).toEqual([2 ** 64, 2 ** 63 + 2 ** 40]);
    expect(loaded("float64", entry("int64", big))[0]).toBe(2 ** 60 + 2 ** 36);
  });

  test("integers keep their low bits", () => {
    const wide = BigInt64Array.of(2n ** 32n + 5n, -1n, -(2n ** 31n));
    expect(loaded("int32", entry("int64", wide))).toEqual([5, -1, -(2 ** 31)]);
    // Beyond 2^53 too, where a number would have lost them.
    expect(loaded("int32", entry("int64", BigInt64Array.of(2n ** 60n + 5n)))).toEqual([5]);
    expect(loaded("uint8", entry("int64", BigInt64Array.of(258n, -1n)))).toEqual([2, 255]);
    expect(loaded("uint8", entry("int32", Int32Array.of(258, -1)))).toEqual([2, 255]);
  });

  test("fractions are cut off, doubles rounded to the nearest float", () => {
    expect(loaded("int32", entry("float32", Float32Array.of(5.9, -5.9)))).toEqual([5, -5]);
    expect(loaded("float32", entry("float64", Float64Array.of(0.1, 1 / 3)))).toEqual([
      Math.fround(0.1),
      Math.fround(1 / 3),
    ]);
    expect(loaded("float64", entry("float64", Float64Array.of(0.1)))).toEqual([0.1]);
  });

  test("what is not 0 is true", () => {
    const floats = Float32Array.of(0.5, 256, Number.NaN, 0, -0);
    expect(loaded("bool", entry("float32", floats))).toEqual([1, 1, 1, 0, 0]);
    expect(loaded("bool", entry("int64", BigInt64Array.of(2n ** 40n, 0n)))).toEqual([1, 0]);
    expect(loaded("bool", entry("int32", Int32Array.of(256, 0)))).toEqual([1, 0]);
  });

  test("half floats widen exactly", () => {
    const halves = Uint16Array.of(0x3c00, 0xc000, 0x0001, 0x7c00, 0x7bff);
    expect(loaded("float32", entry("float16", halves))).toEqual([
      ...[1, -2, 2 ** -24, Number.POSITIVE_INFINITY, 65504],
    ]);
    const brain = Uint16Array.of(0x3f80, 0xc049, 0x7f7f);
    expect(loaded("float32", entry("bfloat16", brain))).toEqual([
      1, -3.140625, 3.3895313892515355e38,
    ]);
  });

  test.each([
    ["a float", { dtype: "float32", shape: [], data: () => Float32Array.of(5.7) }, 5],
    ["shape [1]", { dtype: "int64", shape: [1], data: () => BigInt64Array.of(9n) }, 9],
    ["a byte", { dtype: "uint8", shape: [], data: () => Uint8Array.of(200) }, 200],
  ] as const)("counters come from %s", (_, value, expected) => {
    const bn = new nn.BatchNorm1d(2);
    bn.loadStateDict({ ...Object.fromEntries(bn.stateDict()), num_batches_tracked: value });
    expect(bn.numBatchesTracked).toBe(expected);
  });
});
