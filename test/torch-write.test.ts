/** Writing PyTorch files; test/fixtures/check_written.py opens the same files with PyTorch itself. */
import { execFileSync } from "node:child_process";
import fs, { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { pickleTorch } from "../src/checkpoint/torch-write.ts";
import { zipPieces } from "../src/checkpoint/zip-write.ts";
import {
  ArgumentError,
  CheckpointError,
  checkpoint,
  nn,
  optim,
  ShapeError,
  tensor,
} from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";
import { fixtureFolder } from "./support/fixtures.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "evenkeel-torch-write-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function roundTrip(value: checkpoint.WritableData, name = "trip.pth") {
  const path = join(folder, name);
  await checkpoint.write(path, value);
  return checkpoint.read(path);
}

function entry(
  dtype: checkpoint.EntryDType,
  shape: readonly number[],
  data: checkpoint.EntryArray,
): checkpoint.Entry {
  return { dtype, shape, data: () => data.slice() };
}

/** Every type, with the values that conversions lose. */
const dtypes = new Map<string, checkpoint.Entry>([
  [
    "f64",
    entry("float64", [2], new Float64Array(BigUint64Array.of(0x7ff8dead00000001n, 1n).buffer)),
  ],
  [
    "f32",
    entry("float32", [2, 2], new Float32Array(Uint32Array.of(0x7fc12345, 1, 2 ** 31, 7).buffer)),
  ],
  ["f16", entry("float16", [3], Uint16Array.of(0x7e01, 0x8000, 1))],
  ["bf16", entry("bfloat16", [1, 2], Uint16Array.of(0x7fc1, 0x8000))],
  ["i64", entry("int64", [], BigInt64Array.of(-(2n ** 63n)))],
  ["i32", entry("int32", [2], Int32Array.of(-(2 ** 31), 7))],
  ["i16", entry("int16", [1], Int16Array.of(-300))],
  ["i8", entry("int8", [3], Int8Array.of(-128, 8, 9))],
  ["u64", entry("uint64", [1], BigUint64Array.of(2n ** 64n - 1n))],
  ["u32", entry("uint32", [2], Uint32Array.of(4000000000, 3))],
  ["u16", entry("uint16", [2, 1], Uint16Array.of(60000, 5))],
  ["u8", entry("uint8", [2], Uint8Array.of(250, 3))],
  ["bool", entry("bool", [3], Uint8Array.of(1, 0, 1))],
  ["none", entry("float32", [0, 3], new Float32Array(0))],
]);

function expectSameEntries(
  found: ReadonlyMap<string, checkpoint.Entry>,
  expected: ReadonlyMap<string, checkpoint.Entry>,
): void {
  expect([...found.keys()]).toEqual([...expected.keys()]);
  for (const [key, { dtype, shape, data }] of expected) {
    expect([key, found.get(key)?.dtype, found.get(key)?.shape]).toEqual([key, dtype, shape]);
    expectSameBytes(found.get(key)?.data() ?? new Uint8Array(1), data(), key);
  }
}

const x = tensor([
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
  [0, 0, 0],
]);
const slope = tensor(
  Float32Array.from({ length: 16 }, (_, i) => i * i),
  { shape: [4, 4] },
);

function makeModel() {
  return new nn.Sequential(new nn.Linear(3, 4, { bias: false }), new nn.BatchNorm1d(4));
}

function step(model: nn.Module & ((x: typeof slope) => typeof slope), opt: optim.Optimizer): void {
  opt.zeroGrad();
  model(x).mul(slope).sum().backward();
  opt.step();
}

/** A model, three optimizers that have taken two steps, and the parameters after one more from the model's. */
function training() {
  const model = makeModel();
  model(x);
  const after = (make: (parameters: Iterable<nn.Parameter>) => optim.Optimizer) => {
    const other = makeModel();
    const opt = make(other.parameters());
    step(other, opt);
    step(other, opt);
    other.loadStateDict(model.stateDict());
    const saved = opt.stateDict();
    const copy = make(other.parameters());
    copy.loadStateDict(saved);
    step(other, copy);
    return { state: saved, parameters: [...other.parameters()] };
  };
  const adamw = after((parameters) => new optim.AdamW(parameters, { lr: 0.25 }));
  const sgd = after((parameters) => new optim.SGD(parameters, { lr: 0.01, momentum: 0.5 }));
  const rmsprop = after((parameters) => new optim.RMSprop(parameters, { momentum: 0.5 }));
  return {
    model: model.stateDict(),
    adamw: adamw.state,
    adamw_after: adamw.parameters,
    sgd: sgd.state,
    sgd_after: sgd.parameters,
    rmsprop: rmsprop.state,
    rmsprop_after: rmsprop.parameters,
    epoch: 3,
  };
}

const plain = {
  none: null,
  flags: [true, false],
  text: 'é "日本" \u{1f600}\0',
  numbers: [0, 1, 255, 256, -1, 65535, 65536, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 0.1, -1.5e300],
  deep: { list: [[], [{}], [1, [2, [3]]]], "": "", __proto__x: 1 },
};

describe("what is written", () => {
  test("comes back bit for bit in every type, with NaN payloads and -0", async () => {
    expectSameEntries(await roundTrip(dtypes), dtypes);
    expectSameEntries(await roundTrip(Object.fromEntries(dtypes), "trip.pt"), dtypes);
  });

  test("as plain data comes back as it was", async () => {
    const { rest } = await roundTrip(plain);
    expect(rest).toEqual(plain);
  });

  test("as numbers keeps infinities, NaN, -0 and whole numbers beyond 53 bits", async () => {
    const { rest } = await roundTrip({
      values: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e300],
      long: 2n ** 64n - 1n,
      longer: -(2n ** 1000n),
      small: 7n,
    });
    expect(rest.values).toEqual([
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
      -0,
      1e300,
    ]);
    expect((rest.long as checkpoint.Entry).data()).toEqual(BigUint64Array.of(2n ** 64n - 1n));
    expect(rest.longer).toBe(String(-(2n ** 1000n)));
    expect(rest.small).toBe(7);
  });

  test("of a model are its values, counters as int64 scalars, and its versions", async () => {
    const model = makeModel();
    model(x);
    const dict = await roundTrip(model.stateDict());
    expect([...dict.keys()]).toEqual([...model.stateDict().keys()]);
    expect(dict.metadata).toEqual(model.stateDict().metadata);
    expect(dict.get("1.num_batches_tracked")).toMatchObject({ dtype: "int64", shape: [] });
    const other = makeModel();
    other.loadStateDict(dict);
    expect(await other(x).array()).toEqual(await model(x).array());
  });

  test("of a dict that was read is that dict without its rest", async () => {
    const read = await roundTrip({ model: makeModel().stateDict(), epoch: 3 });
    const again = await roundTrip(read, "again.pth");
    expectSameEntries(again, read);
    expect(again.metadata).toEqual(read.metadata);
    expect(again.rest).toEqual({});
    const whole = await roundTrip({ ...read.rest, model: read }, "whole.pth");
    expectSameEntries(whole, read);
    expect(whole.rest).toEqual({ epoch: 3 });
  });

  test("of an optimizer continues it", async () => {
    const saved = training();
    const { rest } = await roundTrip(saved);
    expect(Object.keys(rest)).toEqual(Object.keys(saved).slice(1));
    const model = makeModel();
    model.loadStateDict(saved.model);
    const opt = new optim.AdamW(model.parameters());
    opt.loadStateDict(rest.adamw);
    step(model, opt);
    for (const [i, parameter] of [...model.parameters()].entries()) {
      expectSameBytes(parameter.dataSync(), saved.adamw_after[i].dataSync());
    }
  });

  test("twice the same is the same file, with values at multiples of 64 bytes", async () => {
    await roundTrip(dtypes, "first.pth");
    await roundTrip(dtypes, "second.pth");
    const file = await readFile(join(folder, "first.pth"));
    expectSameBytes(await readFile(join(folder, "second.pth")), file);
    const bits = Buffer.from(dtypes.get("f64")?.data().buffer ?? new ArrayBuffer(0));
    expect(file.indexOf(bits) % 64).toBe(0);
    const later = Buffer.from(dtypes.get("u64")?.data().buffer ?? new ArrayBuffer(0));
    expect(file.indexOf(later) % 64).toBe(0);
  });

  test("in two places has one storage", async () => {
    const large = tensor(new Float32Array(1000));
    await roundTrip({ a: large, b: { c: large } }, "shared.pth");
    expect((await readFile(join(folder, "shared.pth"))).length).toBeLessThan(6000);
    const dict = await checkpoint.read(join(folder, "shared.pth"));
    expect(dict.get("a")?.shape).toEqual([1000]);
  });

  test.each(["batch-norm.pth", "training.pth", "dtypes.pth", "unsigned.pth", "nested.pth"])(
    "from PyTorch's own %s means the same",
    async (name) => {
      const original = await checkpoint.read(new URL(`torch/${name}`, fixtureFolder).pathname);
      const again = await roundTrip({ ...original.rest, model: original });
      expectSameEntries(again, original);
      expect(again.metadata).toEqual(original.metadata);
      expect(JSON.stringify(again.rest, shown)).toBe(JSON.stringify(original.rest, shown));
    },
  );

  test("survives for any nested data", async () => {
    const leaf = fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.double(),
      fc.string({ unit: "binary" }),
      fc.float32Array({ maxLength: 5 }).map((values) => entry("float32", [values.length], values)),
    );
    const { tree } = fc.letrec<{ tree: checkpoint.WritableData }>((tie) => ({
      tree: fc.oneof(
        { depthSize: "small", withCrossShrink: true },
        leaf,
        fc.array(tie("tree"), { maxLength: 5 }),
        fc.dictionary(fc.string({ unit: "binary" }), tie("tree"), { maxKeys: 5 }),
      ),
    }));
    await fc.assert(
      fc.asyncProperty(tree, async (value) => {
        const { rest } = await roundTrip({ model: dtypes, value });
        expect(JSON.stringify(rest.value, shown)).toBe(JSON.stringify(value, shown));
      }),
      { numRuns: 100 },
    );
  });
});

/** For comparing: entries by their bytes, and the numbers that JSON does not have. */
function shown(_: string, value: unknown): unknown {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : `${value}`;
  if (typeof value !== "object" || value === null || !("data" in value)) return value;
  if (typeof value.data !== "function") return value;
  const { dtype, shape, data } = value as checkpoint.Entry;
  return { dtype, shape, bytes: Buffer.from(data().buffer).toString("hex") };
}

describe("what cannot be written is refused by its place, before anything is written:", () => {
  const circle: Record<string, unknown> = {};
  circle.self = { again: [circle] };
  let nested: unknown = 1;
  for (let i = 0; i < 200; i++) nested = [nested];
  const deep = { dtype: "float8", shape: [1], data: () => Uint8Array.of(1) };

  test.each<[string, unknown, RegExp]>([
    ["a function", { a: [0, () => 1] }, /"a\.1", got function/],
    ["a symbol", { a: { b: Symbol("s") } }, /"a\.b", got symbol/],
    [
      "undefined",
      { optimizer: { state: { 0: { exp_avg: undefined } } } },
      /"optimizer\.state\.0\.exp_avg", got undefined/,
    ],
    ["a hole", { a: [1, undefined, 2] }, /"a\.1", got undefined/],
    ["an instance", { a: new Date(0) }, /"a", got an instance of Date/],
    ["a typed array", { a: Float32Array.of(1) }, /"a", got an instance of Float32Array/],
    ["a cycle", { a: circle }, /"a\.self\.again\.0", got a value that contains itself/],
    ["endless nesting", { a: nested }, /100 levels/],
    ["half a pair", { a: "\ud800" }, /"a", got text with half a surrogate pair/],
    ["half a pair as key", { "\udc00": 1 }, /surrogate/],
    ["a fraction as counter", { model: new Map([["n", 0.5]]) }, /"model\.n".*0\.5/],
    ["text in a state dict", { model: new Map([["n", "x"]]) }, /"model\.n", got string in a Map/],
    ["numbers as keys of a Map", new Map([[1, 1]]), /"1", got a Map with number as key/],
    ["a giant", { a: 2n ** 2040n }, /"a", got a bigint of more than 2040 bits/],
    ["an unknown dtype", { a: deep }, /"a\.data", got function/],
  ])("%s", async (_, value, message) => {
    const writing = checkpoint.write(join(folder, "refused.pth"), value as checkpoint.WritableData);
    await expect(writing).rejects.toThrow(message);
    await expect(writing).rejects.toBeInstanceOf(ArgumentError);
    expect((await readdir(folder)).filter((name) => name.includes("refused"))).toEqual([]);
  });

  test("an entry whose values do not fill its shape", async () => {
    const misfit = { a: entry("float16", [2], Float32Array.of(1, 2)) };
    const writing = checkpoint.write(join(folder, "refused.pth"), misfit);
    await expect(writing).rejects.toBeInstanceOf(ShapeError);
  });

  test("nested data in safetensors, naming .pth", async () => {
    const writing = checkpoint.write(join(folder, "refused.safetensors"), { a: { b: x } });
    await expect(writing).rejects.toThrow(/"a".*\.pth/);
    await expect(checkpoint.write(join(folder, "refused.safetensors"), [x])).rejects.toThrow(
      /\.pth/,
    );
  });

  test("another ending, naming the three", async () => {
    const writing = checkpoint.write(join(folder, "refused.bin"), {});
    await expect(writing).rejects.toThrow(/\.safetensors, \.pth or \.pt, got .*refused\.bin/);
  });
});

test("values are those at the time of the call", async () => {
  const model = makeModel();
  const writing = checkpoint.write(join(folder, "moment.pth"), { model: model.stateDict() });
  model(x);
  await writing;
  const dict = await checkpoint.read(join(folder, "moment.pth"));
  expect(dict.get("1.running_mean")?.data()).toEqual(new Float32Array(4));
});

describe("the pickle", () => {
  test("has the numbers of parameters as numbers, and PyTorch's strides for no values", () => {
    const { pickle } = pickleTorch({
      state: { 0: entry("float32", [3, 0], new Float32Array(0)) },
      param_groups: [],
    });
    const text = Buffer.from(pickle).toString("latin1");
    expect(text).toContain("X\x05\0\0\0state}(K\0c");
    expect(text).toContain("(K\x03K\0t(K\x01K\x01t");
  });

  test("has other digits as text", () => {
    const text = Buffer.from(pickleTorch({ state: { 0: 1 } }).pickle).toString("latin1");
    expect(text).toContain("X\x05\0\0\0state}(X\x01\0\0\x000K\x01");
  });
});

describe("the archive", () => {
  /** Where the members' values begin, by their local headers. */
  async function archive(sizes: readonly number[]) {
    const parts = sizes.map((byteLength, i) => ({
      name: `archive/data/${"x".repeat(i)}`,
      byteLength,
      pieces: () => [Uint8Array.of(1, 2, 3)],
    }));
    const pieces: Uint8Array[] = [];
    for await (const piece of zipPieces(parts)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  test("aligns the values behind names of any length, of members below and above 4 GiB", async () => {
    const sizes = [3, 2 ** 32 - 2, 2 ** 32 - 1, 2 ** 32, ...new Array(70).fill(3)];
    const file = await archive(sizes);
    let at = 0;
    for (const [i, size] of sizes.entries()) {
      at = file.indexOf("PK\x03\x04", at, "latin1");
      const start = at + 30 + file.readUInt16LE(at + 26) + file.readUInt16LE(at + 28);
      expect([i, start % 64]).toEqual([i, 0]);
      expect([...file.subarray(start, start + 3)]).toEqual([1, 2, 3]);
      // Version 4.5 of the format is the first with sizes of 64 bits.
      expect([i, file.readUInt16LE(at + 4) === 45]).toEqual([i, size >= 2 ** 32 - 1]);
      at = start;
    }
  });

  test("that is left early ends the member it was in", async () => {
    let ended = () => {};
    const ending = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const endless = {
      name: "archive/data/0",
      byteLength: 2 ** 32 - 2,
      *pieces() {
        try {
          for (;;) yield new Uint8Array(1 << 20);
        } finally {
          ended();
        }
      },
    };
    for await (const piece of zipPieces([endless])) {
      if (piece.length > 1000) break;
    }
    await ending;
  });
});

test("a folder that is not there is a CheckpointError, and not made", async () => {
  const writing = checkpoint.write(join(folder, "nowhere", "net.pth"), { step: 1 });
  await expect(writing).rejects.toBeInstanceOf(CheckpointError);
  await expect(writing).rejects.toThrow(/nowhere.*no such file or folder/);
  expect(await readdir(folder)).not.toContain("nowhere");
});

test("a full disk is a CheckpointError and leaves no file", async () => {
  const place = await mkdtemp(join(folder, "full-"));
  vi.spyOn(fs, "open").mockImplementationOnce(async (...args) => {
    const file = await fs.open(...args);
    vi.spyOn(file, "write").mockRejectedValue(Object.assign(new Error("full"), { code: "ENOSPC" }));
    return file;
  });
  const writing = checkpoint.write(join(place, "net.pth"), { x });
  await expect(writing).rejects.toBeInstanceOf(CheckpointError);
  expect(await readdir(place)).toEqual([]);
});

const python = process.env.EVENKEEL_PYTHON;

describe("PyTorch", () => {
  // Only where EVENKEEL_PYTHON names a Python that has torch: tests need nothing but Node.
  test.skipIf(python === undefined)("opens it all", { timeout: 120_000 }, async () => {
    const at = (name: string) => join(folder, name);
    await checkpoint.write(at("dtypes.pth"), dtypes);
    await checkpoint.write(at("dtypes.safetensors"), dtypes);
    await writeFile(at("data.json"), JSON.stringify(plain));
    await checkpoint.write(at("data.pt"), {
      ...plain,
      infinity: Number.POSITIVE_INFINITY,
      nan: Number.NaN,
      minus_zero: -0,
      large: 2n ** 64n + 1n,
      negative: -(2n ** 70n),
      whole: 1e300,
    });
    const large = tensor(new Float32Array(1000));
    await checkpoint.write(at("shared.pth"), { a: large, b: { c: large } });
    await checkpoint.write(at("training.pth"), training());
    const script = new URL("check_written.py", fixtureFolder).pathname;
    const printed = execFileSync(python ?? "", [script, folder], { encoding: "utf8" });
    expect(printed).toMatch(/\d+ values compared with torch/);
  });
});

test("a float16 tensor keeps its bits, and comes back into one", async () => {
  const path = join(folder, "half.pth");
  const values = tensor([1.5, -0, 65504, 2 ** -24, Number.NaN], { dtype: "float16" });
  await checkpoint.write(path, { values });
  const entry = (await checkpoint.read(path)).get("values");
  expect(entry?.dtype).toBe("float16");
  expect(entry?.data()).toEqual(Uint16Array.of(0x3e00, 0x8000, 0x7bff, 1, 0x7e00));
});
