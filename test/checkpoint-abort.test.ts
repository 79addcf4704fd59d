/** Ending the reading and writing of checkpoints with an AbortSignal. */
import fs, { type FileHandle, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { checkpoint, tensor } from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";

/** An error with a code, as DOM's AbortError is one, must come through as it is. */
const reason = new DOMException("enough", "AbortError");
/** Several of the pieces that files are read and written in. */
const large = tensor(new Float32Array(12 * 2 ** 20));

const folders: string[] = [];
let path = "";
async function begin(name: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-checkpoint-abort-"));
  folders.push(folder);
  path = join(folder, name);
  await checkpoint.write(path, new Map([["step", 1]]));
}
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

afterEach(() => vi.restoreAllMocks());

/** From now on opened files go through `watch`. */
function watchFiles(watch: (file: FileHandle) => void): void {
  const { open } = fs;
  vi.spyOn(fs, "open").mockImplementation(async (...args) => {
    const file = await open(...args);
    watch(file);
    return file;
  });
}

/** The file is what it was, and alone. */
async function expectUntouched(before: Uint8Array): Promise<void> {
  expect(await readdir(join(path, ".."))).toEqual([basename(path)]);
  expectSameBytes(await readFile(path), before);
}

/** Aborts once `isReady` says so, asked in every turn of the event loop. */
async function abortWhen(isReady: () => Promise<boolean>, controller: AbortController) {
  while (!(await isReady()));
  controller.abort(reason);
}

async function hasTemporary(): Promise<boolean> {
  return (await readdir(join(path, ".."))).some((name) => name.endsWith(".tmp"));
}

describe.each(["net.safetensors", "net.pth"])("write %s", (name) => {
  beforeEach(() => begin(name));

  test("aborted before it begins throws the reason and touches nothing", async () => {
    const before = await readFile(path);
    const writing = checkpoint.write(path, { large }, { signal: AbortSignal.abort(reason) });
    await expect(writing).rejects.toBe(reason);
    await expectUntouched(before);
  });

  test("aborted while it writes leaves the old file whole and no other beside it", async () => {
    const before = await readFile(path);
    const controller = new AbortController();
    const writing = checkpoint.write(path, { large, step: 2 }, { signal: controller.signal });
    const aborting = abortWhen(hasTemporary, controller);
    await expect(writing).rejects.toBe(reason);
    await aborting;
    await expectUntouched(before);
  });

  test("aborted at the last value, when all but the name is done, gives up too", async () => {
    const before = await readFile(path);
    const controller = new AbortController();
    let calls = 0;
    const last: checkpoint.Entry = {
      dtype: "uint8",
      shape: [1],
      data() {
        calls += 1;
        if (calls > 1) controller.abort(reason);
        return Uint8Array.of(7);
      },
    };
    const writing = checkpoint.write(path, { last }, { signal: controller.signal });
    await expect(writing).rejects.toBe(reason);
    await expectUntouched(before);
  });

  test("aborted in a large value does not write the rest of it", async () => {
    const before = await readFile(path);
    const controller = new AbortController();
    let bytes = 0;
    watchFiles((file) => {
      const { write } = file;
      vi.spyOn(file, "write").mockImplementation(async (...args) => {
        const written = await Reflect.apply(write, file, args);
        bytes += written.bytesWritten;
        if (bytes > 2 ** 20) controller.abort(reason);
        return written;
      });
    });
    const writing = checkpoint.write(path, { large }, { signal: controller.signal });
    await expect(writing).rejects.toBe(reason);
    expect(bytes).toBeLessThan(20 * 2 ** 20);
    await expectUntouched(before);
  });

  test("aborted before the new file has its name leaves the old one", async () => {
    const before = await readFile(path);
    const controller = new AbortController();
    watchFiles((file) => {
      vi.spyOn(file, "sync").mockImplementation(async () => controller.abort(reason));
    });
    const writing = checkpoint.write(path, new Map([["step", 2]]), { signal: controller.signal });
    await expect(writing).rejects.toBe(reason);
    await expectUntouched(before);
  });

  test("aborted after it ended leaves the new file", async () => {
    const controller = new AbortController();
    await checkpoint.write(path, new Map([["step", 2]]), { signal: controller.signal });
    controller.abort(reason);
    const dict = await checkpoint.read(path);
    expect(dict.get("step")?.data()).toEqual(BigInt64Array.of(2n));
  });
});

describe("read", () => {
  beforeEach(() => begin("net.safetensors"));

  test("aborted before it begins throws the reason, of a path, bytes or a Blob", async () => {
    const bytes = new Uint8Array(await readFile(path));
    for (const source of [path, bytes, new Blob([bytes]), join(path, "absent")]) {
      const reading = checkpoint.read(source, { signal: AbortSignal.abort(reason) });
      await expect(reading).rejects.toBe(reason);
    }
  });

  test("aborted in the middle throws the reason", async () => {
    await checkpoint.write(path, { large });
    const controller = new AbortController();
    const reading = checkpoint.read(path, { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    await expect(reading).rejects.toBe(reason);
  });

  test("aborted while a Blob gives its bytes throws the reason", async () => {
    const controller = new AbortController();
    const blob = new Blob([new Uint8Array(await readFile(path))]);
    const { slice } = blob;
    blob.slice = (...range) => {
      controller.abort(reason);
      return slice.apply(blob, range);
    };
    const reading = checkpoint.read(blob, { signal: controller.signal });
    await expect(reading).rejects.toBe(reason);
  });

  test("aborted after it ended has read all", async () => {
    const controller = new AbortController();
    const dict = await checkpoint.read(path, { signal: controller.signal });
    controller.abort(reason);
    expect(dict.get("step")?.data()).toEqual(BigInt64Array.of(1n));
  });
});
