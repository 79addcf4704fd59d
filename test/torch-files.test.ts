/** What torch.save wrote (test/fixtures/torch_files.py) and what somebody else might have. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { CheckpointError, checkpoint, nn, optim } from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";
import { fixtureFolder, readCases } from "./support/fixtures.ts";

interface Case {
  readonly name: string;
  readonly files: readonly string[];
  readonly keys: readonly string[];
  readonly versions: Readonly<Record<string, number>>;
}

const folder = new URL("torch/", fixtureFolder);
const cases = readCases<Case>("torch-files");
const truth = await checkpoint.read(
  readFileSync(new URL("torch-files.safetensors", fixtureFolder)),
);

function bytesOf(name: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(new URL(name, folder)));
}

function read(name: string) {
  return checkpoint.read(bytesOf(name));
}

async function failure(bytes: Uint8Array): Promise<CheckpointError> {
  const error: unknown = await checkpoint.read(bytes).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(CheckpointError);
  return error as CheckpointError;
}

describe("files of torch.save", () => {
  test("are all named by a case", () => {
    const named = cases.flatMap(({ files }) => files);
    expect(readdirSync(folder).sort()).toEqual(named.sort());
  });

  const files = cases.flatMap(({ name, files, keys, versions }) =>
    files.map((file) => ({ file, name, keys, versions })),
  );
  test.each(files)(
    "$file gives every tensor bit for bit",
    async ({ file, name, keys, versions }) => {
      const dict = await read(file);
      expect(dict).toBeInstanceOf(checkpoint.StateDict);
      expect([...dict.keys()]).toEqual(keys);
      for (const [key, entry] of dict) {
        const expected = truth.get(`${name}/${key}`);
        expect([key, entry.dtype, entry.shape]).toEqual([key, expected?.dtype, expected?.shape]);
        expectSameBytes(entry.data(), expected?.data() ?? new Uint8Array(1));
      }
      const found = [...dict.metadata].map(([path, { version }]) => [path, version]);
      expect(Object.fromEntries(found)).toEqual(versions);
    },
  );

  test("come from a path as well", async () => {
    const dict = await checkpoint.read(new URL("batch-norm.pth", folder).pathname);
    expect(dict.size).toBe(7);
  });

  test("data() is a copy, also of storages that tensors share", async () => {
    const dict = await read("views.pth");
    new Uint8Array(dict.get("base")?.data().buffer ?? new ArrayBuffer(0)).fill(7);
    const expected = truth.get("views/row")?.data() ?? new Uint8Array(1);
    expectSameBytes(dict.get("row")?.data() ?? new Uint8Array(0), expected);
  });

  test.each(["batch-norm.pth", "batch-norm-legacy.pth"])("%s goes into a model", async (file) => {
    const dict = await read(file);
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
    expect(model.loadStateDict(dict)).toEqual({ missingKeys: [], unexpectedKeys: [] });
    expect(dict.metadata.get("1")).toEqual({ version: 2 });
    for (const [key, value] of model.stateDict()) {
      const loaded = typeof value === "number" ? [value] : [...value.dataSync()];
      expect([key, loaded]).toEqual([key, Array.from(dict.get(key)?.data() ?? [], Number)]);
    }
  });
});

describe("training checkpoints", () => {
  const files = ["training.pth", "training-legacy.pth", "training-protocol4.pth"];

  test.each([...files, "training-deflated.pth"])("%s keeps everything else", async (file) => {
    const { rest } = await read(file);
    expect(rest).toMatchObject({
      epoch: 7,
      best: { dtype: "float32", shape: [] },
      arch: "net",
      history: [0.5, [1, -2], null, true],
      counts: { 3: 2, 5: 1 },
      groups: { a: [1] },
      seen: [1],
      dtype: "torch.float16",
      size: [2, 3],
      device: "cuda:1",
      bytes: { dtype: "uint8", shape: [2] },
      optimizer: { param_groups: [{ lr: 0.02, betas: [0.8, 0.95], params: [0, 1, 2, 3] }] },
    });
    expect(rest).not.toHaveProperty("state_dict");
  });

  test("numbers of any size keep their value and sign", async () => {
    const { rest } = await read("training.pth");
    const big = rest.big as readonly checkpoint.Plain[];
    const values = big.map((value) => {
      const entry = value as checkpoint.Entry;
      return entry.data?.()[0] ?? value;
    });
    expect(values).toEqual([
      2n ** 53n + 1n,
      -(2n ** 63n),
      2n ** 64n - 1n,
      String(-(2n ** 70n)),
      -(2 ** 40),
      String(2n ** 2100n),
    ]);
  });

  test("the optimizer's state loads as it is", async () => {
    const dict = await read("training.pth");
    const model = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4));
    model.loadStateDict(dict);
    const adam = new optim.Adam(model.parameters());
    adam.loadStateDict(dict.rest.optimizer);
    expect(adam.paramGroups[0]).toMatchObject({ lr: 0.02, betas: [0.8, 0.95] });
    expect(adam.stateDict()).toMatchObject({ state: { 3: { step: 2 } } });
  });

  test("a scalar beside the model's dict does not hide it", async () => {
    const dict = await read("nested.pth");
    expect([[...dict.keys()], dict.rest]).toEqual([["w"], { step: 3 }]);
  });
});

const originals = readdirSync(folder).map((name) => ({ name, bytes: bytesOf(name) }));
const mutated = [
  ...originals,
  {
    name: "clip_grad.safetensors",
    bytes: Uint8Array.from(readFileSync(new URL("clip_grad.safetensors", fixtureFolder))),
  },
];

describe("damage", () => {
  test.each(originals)("$name cut at every 97th byte is refused", async ({ bytes }) => {
    for (let length = 1; length < bytes.length; length += 97) {
      expect((await failure(bytes.subarray(0, length))).name).toBe("CheckpointError");
    }
    await failure(bytes.subarray(0, bytes.length - 1));
  });

  test("any changed bytes give a CheckpointError or entries that can be read", async () => {
    const random = seeded(20240229);
    const start = performance.now();
    const tries = 20_000;
    let refused = 0;
    for (let i = 0; i < tries; i++) {
      const bytes = changed(mutated[random(mutated.length)].bytes, random);
      const outcome: unknown = await readAll(bytes).catch((error: unknown) => error);
      expect(outcome === null || outcome instanceof CheckpointError).toBe(true);
      refused += Number(outcome !== null);
    }
    // Most changes hit values, which any bytes can be.
    expect(refused).toBeGreaterThan(tries / 20);
    expect((performance.now() - start) / tries).toBeLessThan(20);
  }, 240_000);
});

/** Reads everything there is, by both ways. */
async function readAll(bytes: Uint8Array): Promise<null> {
  const dict = await checkpoint.read(bytes);
  for (const entry of dict.values()) entry.data();
  const file = await checkpoint.open(new Blob([Uint8Array.from(bytes)]));
  expect([...file.keys()]).toEqual([...dict.keys()]);
  for (const key of file.keys()) (await file.get(key)).data();
  return null;
}

/** One to five bytes replaced, or a stretch cut out or doubled. */
function changed(original: Uint8Array, random: (below: number) => number): Uint8Array {
  const bytes = original.slice();
  const [from, to] = [random(bytes.length), random(bytes.length)].sort((a, b) => a - b);
  const kind = random(8);
  if (kind === 0) return Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]);
  if (kind === 1) return Buffer.concat([bytes.subarray(0, to), bytes.subarray(from)]);
  for (let changes = random(4); changes >= 0; changes--) {
    bytes[random(bytes.length)] = random(256);
  }
  return bytes;
}

/** Whole numbers below a bound, the same at every run. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
