/** `checkpoint.open`: what it reads and when, and where checkpoints may come from. */
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { ArgumentError, CheckpointError, checkpoint, nn, optim } from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";
import { fixtureFolder } from "./support/fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "evenkeel-open-"));
afterAll(() => rmSync(folder, { recursive: true }));

const torchFolder = new URL("torch/", fixtureFolder);
const pathOf = (name: string) => new URL(name, torchFolder).pathname;
const bytesOf = (name: string) => Uint8Array.from(readFileSync(pathOf(name)));

/** A Blob that writes down which bytes were read. */
function watched(bytes: Uint8Array<ArrayBuffer>) {
  const blob = new Blob([bytes]);
  const reads: [number, number][] = [];
  const { slice } = blob;
  blob.slice = (start = 0, end = blob.size) => {
    reads.push([start, end]);
    return slice.call(blob, start, end);
  };
  const total = () => reads.reduce((sum, [start, end]) => sum + end - start, 0);
  return { blob, reads, total };
}

const names = [
  ...["batch-norm.pth", "batch-norm-legacy.pth", "dtypes.pth", "views.pth", "views-legacy.pth"],
  ...["training.pth", "training-deflated.pth", "unsigned.pth", "tensor.pth", "list-legacy.pth"],
];

describe("open", () => {
  test.each(names)("gives what read gives: %s", async (name) => {
    const dict = await checkpoint.read(bytesOf(name));
    const file = await checkpoint.open(pathOf(name));
    expect([...file.keys()]).toEqual([...dict.keys()]);
    expect([file.size, file.metadata]).toEqual([dict.size, dict.metadata]);
    for (const [key, { dtype, shape, data }] of dict) {
      expect([file.has(key), file.info(key)]).toEqual([true, { dtype, shape }]);
      const entry = await file.get(key);
      expect([entry.dtype, entry.shape]).toEqual([dtype, shape]);
      expectSameBytes(entry.data(), data());
    }
    const rest = await file.rest();
    expect(JSON.stringify(rest, plain)).toBe(JSON.stringify(dict.rest, plain));
  });

  test.each(["large.pth", "large.safetensors"])(
    "%s is opened without its values, and a tensor read without the others",
    async (name) => {
      const path = join(folder, name);
      const a = {
        dtype: "float32",
        shape: [1_000_000],
        data: () => new Float32Array(1e6),
      } as const;
      const b = { dtype: "float32", shape: [50], data: () => new Float32Array(50) } as const;
      await checkpoint.write(path, { a, b });
      const { blob, total } = watched(Uint8Array.from(readFileSync(path)));
      const file = await checkpoint.open(blob);
      expect(total()).toBeLessThan(100_000);
      const before = total();
      expect((await file.get("b")).data().length).toBe(50);
      expect(total() - before).toBeLessThan(500);
    },
  );

  test("of a view, only the part of the storage that it touches is read", async () => {
    const { blob, reads } = watched(bytesOf("views.pth"));
    const file = await checkpoint.open(blob);
    reads.length = 0;
    await file.get("scalar");
    expect(reads.at(-1)?.reduce((start, end) => end - start)).toBe(4);
  });

  test("a file of 2 GB is opened and read from in a moment", async () => {
    const path = join(folder, "huge.safetensors");
    const half = 2 ** 30;
    const place = (at: number) => ({
      dtype: "F32",
      shape: [half / 4],
      data_offsets: [at, at + half],
    });
    const small = { dtype: "F32", shape: [1], data_offsets: [2 * half, 2 * half + 4] };
    const header = JSON.stringify({ a: place(0), b: place(half), c: small });
    const start = Buffer.alloc(8);
    start.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path, Buffer.concat([start, Buffer.from(header)]));
    truncateSync(path, 8 + header.length + 2 * half + 4);
    const from = performance.now();
    const file = await checkpoint.open(path);
    expect(file.info("b").shape).toEqual([half / 4]);
    expect((await file.get("c")).data()).toEqual(Float32Array.of(0));
    expect(performance.now() - from).toBeLessThan(1000);
  });

  test("a legacy file whose pickles are longer than the first window is read", async () => {
    const path = join(folder, "long-legacy.pth");
    const bytes = bytesOf("training-legacy.pth");
    // A long text in place of "net": BINUNICODE has a length of four bytes.
    const at = Buffer.from(bytes).indexOf("X\x03\0\0\0net");
    const long = Buffer.alloc(3_000_000, "n");
    const length = Buffer.alloc(4);
    length.writeUInt32LE(long.length);
    const parts = [bytes.subarray(0, at + 1), length, long, bytes.subarray(at + 8)];
    writeFileSync(path, Buffer.concat(parts));
    const file = await checkpoint.open(path);
    const expected = await checkpoint.read(bytes);
    for (const [key, entry] of expected) {
      expectSameBytes((await file.get(key)).data(), entry.data());
    }
    expect((await file.rest()).arch).toHaveLength(3_000_000);
  });

  test("the rest loads into an optimizer", async () => {
    const file = await checkpoint.open(pathOf("training.pth"));
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
    const adam = new optim.Adam(model.parameters());
    adam.loadStateDict((await file.rest()).optimizer);
    expect(adam.stateDict()).toMatchObject({ state: { 3: { step: 2 } } });
  });

  test("a name that is not there is an ArgumentError with the nearest", async () => {
    const file = await checkpoint.open(pathOf("batch-norm.pth"));
    expect(() => file.info("1.running_men")).toThrow(ArgumentError);
    expect(() => file.info("1.running_men")).toThrow(/the file has "1.running_mean"/);
    await expect(file.get("nothing of the kind")).rejects.toThrow(ArgumentError);
  });

  test("a file that changes after it was opened is not mixed up with what it was", async () => {
    const path = join(folder, "changing.safetensors");
    const entry = (value: number) =>
      ({ w: { dtype: "float32", shape: [1], data: () => Float32Array.of(value) } }) as const;
    await checkpoint.write(path, entry(1));
    const file = await checkpoint.open(path);
    await checkpoint.write(path, entry(2));
    await expect(file.get("w")).rejects.toThrow(/as it was when it was opened.*open it again/);
    rmSync(path);
    await expect(file.get("w")).rejects.toThrow(CheckpointError);
  });

  test("an aborted signal ends get, rest and open with its reason", async () => {
    const reason = new Error("stop");
    const signal = AbortSignal.abort(reason);
    const file = await checkpoint.open(pathOf("training.pth"));
    const [key] = file.keys();
    await expect(file.get(key, { signal })).rejects.toBe(reason);
    await expect(file.rest({ signal })).rejects.toBe(reason);
    await expect(checkpoint.open(pathOf("training.pth"), { signal })).rejects.toBe(reason);
  });

  test("damage of the directory is found at once, cut values too", async () => {
    const bytes = bytesOf("batch-norm.pth");
    const cut = new Blob([bytes.subarray(0, bytes.length - 40)]);
    await expect(checkpoint.open(cut)).rejects.toThrow(/cut short/);
    const legacy = bytesOf("batch-norm-legacy.pth");
    const shorter = new Blob([legacy.subarray(0, legacy.length - 4)]);
    await expect(checkpoint.open(shorter)).rejects.toThrow(CheckpointError);
  });
});

describe("sources", () => {
  const expected = new Map([["w", Float32Array.of(1, 2)]]);
  const path = join(folder, "source.pth");

  const read = async (source: checkpoint.CheckpointSource) => {
    const dict = await checkpoint.read(source);
    const file = await checkpoint.open(source);
    const opened = (await file.get("w")).data();
    expect(opened).toEqual(dict.get("w")?.data());
    return new Map([...dict].map(([key, entry]) => [key, entry.data()]));
  };

  test("path, file: URL and its text, bytes, buffer and Blob give the same", async () => {
    const data = () => Float32Array.of(1, 2);
    await checkpoint.write(path, { w: { dtype: "float32", shape: [2], data } });
    const bytes = Uint8Array.from(readFileSync(path));
    const url = pathToFileURL(path);
    for (const source of [path, url, url.href, bytes, bytes.buffer, new Blob([bytes])]) {
      expect(await read(source)).toEqual(expected);
    }
  });

  test("http: URLs are fetched; a refusal and a missing server are CheckpointErrors", async () => {
    const server = createServer((request, response) => {
      response.statusCode = request.url === "/source.pth" ? 200 : 404;
      response.end(request.url === "/source.pth" ? readFileSync(path) : "");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    expect(await read(`${base}/source.pth`)).toEqual(expected);
    expect(await read(new URL(`${base}/source.pth`))).toEqual(expected);
    await expect(checkpoint.read(`${base}/other.pth`)).rejects.toThrow(/to fetch .*status 404/);
    await new Promise((resolve) => server.close(resolve));
    await expect(checkpoint.open(`${base}/source.pth`)).rejects.toThrow(CheckpointError);
  });

  test("other schemes and other things are ArgumentErrors", async () => {
    await expect(checkpoint.read(new URL("ftp://host/a.pth"))).rejects.toThrow(
      /file:, http: or https:/,
    );
    await expect(checkpoint.read(new URL("file://host/a.pth"))).rejects.toThrow(ArgumentError);
    await expect(checkpoint.open(Object(7))).rejects.toThrow(/a path, a URL/);
  });
});

/** Entries as their values, so that texts compare. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === "function") return Array.from(value(), String);
  return value;
}
