import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ArgumentError,
  CheckpointError,
  checkpoint,
  nn,
  ShapeError,
  tensor,
} from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "evenkeel-checkpoint-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/**
 * Written by safetensors 0.8.0 for Python (`safetensors.numpy.save`, metadata {"format": "np"}) from
 * f32 [[1.5, -0.0, 3e-45], [inf, -inf, 2.25]], f64 [1/3, -1e300], f16 [1.5, -2, 65504], i64 scalar -(2^53 + 1), u64 [2^64 - 1],
 * i32 [-5, 7], i16 [-300], i8 [-7, 8, 9], u32 [4000000000], u16 [60000], u8 [[250], [3]], bool [1, 0, 1], empty (0, 4) float32.
 */
const fromPython = Buffer.from(
  "CAMAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJmb3JtYXQiOiJucCJ9LCJ1NjQiOnsiZHR5cGUiOiJVNjQiLCJzaGFw" +
    "ZSI6WzFdLCJkYXRhX29mZnNldHMiOlswLDhdfSwiaTY0Ijp7ImR0eXBlIjoiSTY0Iiwic2hhcGUiOltdLCJkYXRh" +
    "X29mZnNldHMiOls4LDE2XX0sImY2NCI6eyJkdHlwZSI6IkY2NCIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6" +
    "WzE2LDMyXX0sImVtcHR5Ijp7ImR0eXBlIjoiRjMyIiwic2hhcGUiOlswLDRdLCJkYXRhX29mZnNldHMiOlszMiwz" +
    "Ml19LCJmMzIiOnsiZHR5cGUiOiJGMzIiLCJzaGFwZSI6WzIsM10sImRhdGFfb2Zmc2V0cyI6WzMyLDU2XX0sInUz" +
    "MiI6eyJkdHlwZSI6IlUzMiIsInNoYXBlIjpbMV0sImRhdGFfb2Zmc2V0cyI6WzU2LDYwXX0sImkzMiI6eyJkdHlw" +
    "ZSI6IkkzMiIsInNoYXBlIjpbMl0sImRhdGFfb2Zmc2V0cyI6WzYwLDY4XX0sImYxNiI6eyJkdHlwZSI6IkYxNiIs" +
    "InNoYXBlIjpbM10sImRhdGFfb2Zmc2V0cyI6WzY4LDc0XX0sInUxNiI6eyJkdHlwZSI6IlUxNiIsInNoYXBlIjpb" +
    "MV0sImRhdGFfb2Zmc2V0cyI6Wzc0LDc2XX0sImkxNiI6eyJkdHlwZSI6IkkxNiIsInNoYXBlIjpbMV0sImRhdGFf" +
    "b2Zmc2V0cyI6Wzc2LDc4XX0sImk4Ijp7ImR0eXBlIjoiSTgiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMiOls3" +
    "OCw4MV19LCJ1OCI6eyJkdHlwZSI6IlU4Iiwic2hhcGUiOlsyLDFdLCJkYXRhX29mZnNldHMiOls4MSw4M119LCJi" +
    "b29sIjp7ImR0eXBlIjoiQk9PTCIsInNoYXBlIjpbM10sImRhdGFfb2Zmc2V0cyI6WzgzLDg2XX19IP//////////" +
    "////////3/9VVVVVVVXVP5x1AIg85Df+AADAPwAAAIACAAAAAACAfwAAgP8AABBAAChr7vv///8HAAAAAD4AwP97" +
    "YOrU/vkICfoDAQAB",
  "base64",
);

/** A file with this header and so many bytes of values. */
function fileOf(header: string | Uint8Array, valueBytes = 0): Uint8Array<ArrayBuffer> {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + valueBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

async function failure(reading: Promise<unknown>): Promise<CheckpointError> {
  const error = await reading.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe("reading", () => {
  test("a file written by Python gives every type bit for bit", async () => {
    const dict = await checkpoint.read(fromPython);
    const seen = Object.fromEntries(
      [...dict].map(([key, { dtype, shape, data }]) => [key, [dtype, shape, data()]]),
    );
    expect(seen).toEqual({
      f32: [
        "float32",
        [2, 3],
        Float32Array.of(1.5, -0, 3e-45, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 2.25),
      ],
      f64: ["float64", [2], Float64Array.of(1 / 3, -1e300)],
      f16: ["float16", [3], Uint16Array.of(0x3e00, 0xc000, 0x7bff)],
      i64: ["int64", [], BigInt64Array.of(-9007199254740993n)],
      u64: ["uint64", [1], BigUint64Array.of(2n ** 64n - 1n)],
      i32: ["int32", [2], Int32Array.of(-5, 7)],
      i16: ["int16", [1], Int16Array.of(-300)],
      i8: ["int8", [3], Int8Array.of(-7, 8, 9)],
      u32: ["uint32", [1], Uint32Array.of(4000000000)],
      u16: ["uint16", [1], Uint16Array.of(60000)],
      u8: ["uint8", [2, 1], Uint8Array.of(250, 3)],
      bool: ["bool", [3], Uint8Array.of(1, 0, 1)],
      empty: ["float32", [0, 4], new Float32Array(0)],
    });
  });

  test("bfloat16 comes as its bits", async () => {
    const header = '{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}';
    const file = fileOf(header, 4);
    file.set([0x80, 0x3f, 0x01, 0xc0], file.length - 4);
    const dict = await checkpoint.read(file);
    expect(dict.get("w")?.dtype).toBe("bfloat16");
    expect(dict.get("w")?.data()).toEqual(Uint16Array.of(0x3f80, 0xc001));
  });

  test("a path, an ArrayBuffer, a Blob and a view at an odd offset give the same", async () => {
    const path = join(folder, "python.safetensors");
    await writeFile(path, fromPython);
    const shifted = new Uint8Array(fromPython.length + 3);
    shifted.set(fromPython, 3);
    const sources = [
      path,
      Uint8Array.from(fromPython).buffer,
      new Blob([Uint8Array.from(fromPython)]),
      shifted.subarray(3),
    ];
    for (const source of sources) {
      const values = (await checkpoint.read(source)).get("f64")?.data();
      expect(values).toEqual(Float64Array.of(1 / 3, -1e300));
    }
  });

  test("data() is a copy", async () => {
    const dict = await checkpoint.read(fromPython);
    new Uint8Array(dict.get("i32")?.data().buffer ?? new ArrayBuffer(0)).fill(0);
    expect(dict.get("i32")?.data()).toEqual(Int32Array.of(-5, 7));
  });

  test("a missing file is named", async () => {
    const error = await failure(checkpoint.read(join(folder, "absent.safetensors")));
    expect(error.message).toContain("absent.safetensors");
    expect(error.message).toContain("no such file");
  });

  test("something that is no file is refused", async () => {
    // @ts-expect-error: what a caller without types may do
    await expect(checkpoint.read(3)).rejects.toBeInstanceOf(ArgumentError);
  });
});

describe("files of other formats", () => {
  test.each([
    ["a gzipped file", [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 0]],
    ["an HDF5 file", [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0]],
  ])("are named: %s", async (name, bytes) => {
    const error = await failure(checkpoint.read(Uint8Array.from(bytes)));
    expect(error.message).toContain(name);
    expect(error.message).toContain("safetensors");
  });
});

test("a header as long as a pickle's first bytes read is still safetensors", async () => {
  const header = '{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'.padEnd(0x280);
  const file = fileOf(header, 1);
  expect([file[0], file[1]]).toEqual([0x80, 0x02]);
  expect((await checkpoint.read(file)).get("w")?.shape).toEqual([1]);
});

describe("files that lie", () => {
  const entry = (shape: string, offsets: string, dtype = "F32") =>
    `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

  test.each<[string, Uint8Array<ArrayBuffer>, number, RegExp]>([
    ["too short for a length", Uint8Array.of(1, 2, 3), 0, /8 bytes/],
    [
      "a header longer than the file",
      Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 0, 0x7b, 0x7d),
      0,
      /header/,
    ],
    ["a header longer than allowed", new Uint8Array(20).fill(0xff), 0, /at most 100000000/],
    ["an empty header", fileOf(""), 0, /header/],
    ["a header that is no object", fileOf("[]"), 8, /"\{"/],
    ["text after the header's object", fileOf("{} {}"), 11, /nothing after/],
    ["broken JSON", fileOf('{"w":{"dtype":F32}}'), 22, /JSON value/],
    ["an unclosed brace", fileOf(`{"w":${entry("[]", "[0,4]")}`), 60, /"\}"/],
    ["an unclosed string", fileOf('{"w'), 11, /closing quotation/],
    ["a comma at the end", fileOf(`{"w":${entry("[]", "[0,4]")},}`), 61, /"""/],
    [
      "text that is not UTF-8",
      fileOf(Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)),
      9,
      /UTF-8/,
    ],
    ["brackets without end", fileOf(`{"w":${"[".repeat(5000)}`), 8 + 5 + 16, /levels/],
    ["a list without end", fileOf(`{"w":[${"1,".repeat(5000)}1]}`), 142, /64 items/],
    [
      "names without end",
      fileOf(`{"__metadata__":{${Array.from({ length: 250_001 }, (_, i) => `"${i}":""`)}}}`),
      2_888_915,
      /250000 names/,
    ],
    ["an entry that is a number", fileOf('{"w":1}'), 13, /object/],
    ["an unknown dtype", fileOf(`{"w":${entry("[1]", "[0,4]", "F31")}}`, 4), 22, /F64.*"F31"/],
    ["no shape", fileOf('{"w":{"dtype":"F32","data_offsets":[0,4]}}', 4), 13, /"shape".*nothing/],
    ["a negative size", fileOf(`{"w":${entry("[-1]", "[0,4]")}}`, 4), 36, /whole numbers/],
    ["a fraction as size", fileOf(`{"w":${entry("[0.5]", "[0,4]")}}`, 4), 36, /whole numbers/],
    ["three offsets", fileOf(`{"w":${entry("[1]", "[0,4,8]")}}`, 4), 55, /two "data_offsets"/],
    ["offsets in reverse", fileOf(`{"w":${entry("[1]", "[4,0]")}}`, 4), 55, /4 bytes/],
    ["a shape that needs more bytes", fileOf(`{"w":${entry("[2]", "[0,4]")}}`, 4), 55, /8 bytes/],
    ["a shape that needs fewer bytes", fileOf(`{"w":${entry("[1]", "[0,8]")}}`, 8), 55, /4 bytes/],
    [
      "sizes whose product overflows",
      fileOf(`{"w":${entry("[4294967296,4294967296]", "[0,4]")}}`, 4),
      75,
      /53 bits/,
    ],
    ["values cut short", fileOf(`{"w":${entry("[2]", "[0,8]")}}`, 4), 66, /cut short/],
    ["bytes after the values", fileOf(`{"w":${entry("[1]", "[0,4]")}}`, 5), 66, /follows/],
    ["a gap at the start", fileOf(`{"w":${entry("[1]", "[4,8]")}}`, 8), 55, /unused/],
    [
      "overlapping values",
      fileOf(`{"a":${entry("[2]", "[0,8]")},"b":${entry("[1]", "[4,8]")}}`, 8),
      108,
      /"b".*overlaps/,
    ],
    [
      "a name that comes twice",
      fileOf(`{"a":${entry("[1]", "[0,4]")},"\\u0061":${entry("[1]", "[4,8]")}}`, 8),
      62,
      /"a" again/,
    ],
    ["metadata that is no text", fileOf('{"__metadata__":{"a":1}}'), 29, /text for __metadata__/],
  ])("are refused at the byte: %s", async (_, bytes, offset, message) => {
    const error = await failure(checkpoint.read(bytes));
    expect(error.message).toMatch(message);
    expect(error.offset).toBe(offset);
  });

  test("any bytes give entries or a CheckpointError, never another error", async () => {
    const broken = fc
      .tuple(fc.integer({ min: 0, max: fromPython.length - 1 }), fc.integer({ min: 0, max: 255 }))
      .map(([at, byte]) => Uint8Array.from(fromPython, (old, i) => (i === at ? byte : old)));
    await fc.assert(
      fc.asyncProperty(fc.oneof(broken, fc.uint8Array({ maxLength: 64 })), async (bytes) => {
        const outcome = await checkpoint.read(Uint8Array.from(bytes)).catch((error) => error);
        expect(outcome instanceof Map || outcome instanceof CheckpointError).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("writing", () => {
  test("tensors, numbers and entries come back bit for bit, in order", async () => {
    const path = join(folder, "mixed.safetensors");
    const half = { dtype: "float16", shape: [2], data: () => Uint16Array.of(0x3e00, 1) } as const;
    await checkpoint.write(path, {
      "a.flag": tensor([true, false, true]),
      "a.weight": tensor(Float32Array.of(-0, 1e-45, 2.5, -7), { shape: [2, 2] }),
      "a.count": 9007199254740991,
      "10": tensor(Int32Array.of(-1)),
      half,
    });
    const dict = await checkpoint.read(path);
    expect([...dict.keys()]).toEqual(["10", "a.flag", "a.weight", "a.count", "half"]);
    expect(dict.get("a.flag")).toMatchObject({ dtype: "bool", shape: [3] });
    expect(dict.get("a.weight")).toMatchObject({ dtype: "float32", shape: [2, 2] });
    expect(dict.get("a.weight")?.data()).toEqual(Float32Array.of(-0, 1e-45, 2.5, -7));
    expect(dict.get("a.count")).toMatchObject({ dtype: "int64", shape: [] });
    expect(dict.get("a.count")?.data()).toEqual(BigInt64Array.of(9007199254740991n));
    expect(dict.get("10")?.data()).toEqual(Int32Array.of(-1));
    expect(dict.get("half")?.data()).toEqual(half.data());
  });

  test("the bytes are the format's: length, padded header in the dict's order, wide types first", async () => {
    const path = join(folder, "layout.safetensors");
    const dict = new Map<string, checkpoint.Writable>([
      ["zz", tensor(Uint8Array.of(7))],
      ["2", 258],
    ]);
    await checkpoint.write(path, dict);
    const bytes = await readFile(path);
    const header =
      '{"__metadata__":{"format":"pt"},"zz":{"dtype":"U8","shape":[1],"data_offsets":[8,9]},' +
      '"2":{"dtype":"I64","shape":[],"data_offsets":[0,8]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    const expected = [
      ...[padded.length, 0, 0, 0, 0, 0, 0, 0],
      ...Buffer.from(padded),
      ...[2, 1, 0, 0, 0, 0, 0, 0, 7],
    ];
    expectSameBytes(bytes, Uint8Array.from(expected));
  });

  test("a module's state survives the way to disk and back", async () => {
    const path = join(folder, "module.safetensors");
    const bn = new nn.BatchNorm1d(3, { momentum: 0.5 });
    bn(
      tensor([
        [1, 2, 3],
        [5, 9, -2],
      ]),
    );
    await checkpoint.write(path, bn.stateDict());
    const other = new nn.BatchNorm1d(3);
    other.loadStateDict(await checkpoint.read(path));
    expect(await other.runningMean?.array()).toEqual([1.5, 2.75, 0.25]);
    expect(await other.runningVar?.array()).toEqual([4.5, 12.75, 6.75]);
    expect(other.numBatchesTracked).toBe(1);
  });

  test("any dictionary of float32 tensors survives, whatever its names", async () => {
    const path = join(folder, "any.safetensors");
    const name = fc.string({ unit: "binary" }).filter((key) => key !== "__metadata__");
    const values = fc.float32Array({ maxLength: 9 });
    await fc.assert(
      fc.asyncProperty(fc.dictionary(name, values), async (arrays) => {
        const pairs = Object.entries(arrays);
        await checkpoint.write(path, new Map(pairs.map(([key, array]) => [key, tensor(array)])));
        const dict = await checkpoint.read(path);
        expect([...dict.keys()]).toEqual(pairs.map(([key]) => key));
        for (const [key, array] of pairs) {
          expectSameBytes(dict.get(key)?.data() ?? new Uint8Array(0), array);
        }
      }),
      { numRuns: 30 },
    );
  });

  test("another ending is refused before anything is written", async () => {
    const path = join(folder, "model.npz");
    await expect(checkpoint.write(path, {})).rejects.toThrow(/ending in \.safetensors.*model\.npz/);
    await expect(checkpoint.write(path, {})).rejects.toBeInstanceOf(ArgumentError);
    expect(await readdir(folder)).not.toContain("model.npz");
  });

  test.each<[string, unknown, RegExp]>([
    ["a fraction", 0.5, /whole number.*0\.5/],
    ["text", "x", /got string/],
    ["null", null, /got null/],
    ["an unknown dtype", { dtype: "float8", shape: [1], data: () => Uint8Array.of(1) }, /entry/],
  ])("%s is refused by its name", async (_, value, message) => {
    const dict = { "some.key": value } as Record<string, checkpoint.Writable>;
    const writing = checkpoint.write(join(folder, "refused.safetensors"), dict);
    await expect(writing).rejects.toThrow(message);
    await expect(writing).rejects.toThrow("some.key");
    await expect(writing).rejects.toBeInstanceOf(ArgumentError);
  });

  test("an entry whose values do not fill its shape is refused", async () => {
    const entry = { dtype: "float16", shape: [2], data: () => Float32Array.of(1, 2) } as const;
    const writing = checkpoint.write(join(folder, "misfit.safetensors"), { entry });
    await expect(writing).rejects.toThrow(/4 bytes of float16.*got 8/);
    await expect(writing).rejects.toBeInstanceOf(ShapeError);
  });

  test("the name __metadata__ is the format's own", async () => {
    const writing = checkpoint.write(join(folder, "meta.safetensors"), { __metadata__: 1 });
    await expect(writing).rejects.toThrow(/another name/);
  });

  test("a failure while writing keeps the old file and leaves nothing beside it", async () => {
    const place = join(folder, "atomic");
    await mkdir(place);
    const path = join(place, "net.safetensors");
    await checkpoint.write(path, { step: 1 });
    let calls = 0;
    const failing: checkpoint.Entry = {
      dtype: "uint8",
      shape: [1],
      data() {
        calls += 1;
        return calls < 2 ? Uint8Array.of(1) : fail();
      },
    };
    await expect(checkpoint.write(path, { step: 2, failing })).rejects.toThrow("disk on fire");
    expect(await readdir(place)).toEqual(["net.safetensors"]);
    expect((await checkpoint.read(path)).get("step")?.data()).toEqual(BigInt64Array.of(1n));
  });

  test("a folder that is not there is named, and not made", async () => {
    const path = join(folder, "nowhere", "net.safetensors");
    const error = await failure(checkpoint.write(path, { step: 1 }));
    expect(error.message).toContain(path);
    expect(await readdir(folder)).not.toContain("nowhere");
  });

  test("values are those at the time of the call", async () => {
    const path = join(folder, "moment.safetensors");
    const bn = new nn.BatchNorm1d(2, { momentum: 1 });
    const writing = checkpoint.write(path, bn.stateDict());
    bn(
      tensor([
        [1, 2],
        [3, 8],
      ]),
    );
    await writing;
    expect((await checkpoint.read(path)).get("running_mean")?.data()).toEqual(
      Float32Array.of(0, 0),
    );
  });
});

function fail(): never {
  throw new Error("disk on fire");
}
