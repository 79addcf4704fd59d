/** Runs that are interrupted after any batch and go on from their last checkpoint end bit for bit like one that was not. */
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as library from "../src/index.ts";
import { expectSameBytes } from "./support/close.ts";
import { train } from "./support/resumable.mjs";

/** Three passes of 23 items in batches of 5. */
const batchesInAll = 15;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "evenkeel-resume-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

let files = 0;
function freshPath(): string {
  files += 1;
  return join(folder, `${files}.safetensors`);
}

class Stopped extends Error {}

/** Goes on from the checkpoint and stops after so many batches, by an error in the loop's body. */
async function trainUntil(run: Parameters<typeof train>[1], batches: number): Promise<void> {
  const afterBatch = (done: number) => stopAt(done, batches);
  await expect(train(library, { ...run, afterBatch })).rejects.toThrow(Stopped);
}

function stopAt(done: number, batches: number): void {
  if (done === batches) throw new Stopped();
}

const kinds = [
  { isSeeded: true, optimizer: "SGD" },
  { isSeeded: false, optimizer: "SGD" },
  { isSeeded: false, optimizer: "Adam" },
] as const;

describe.each(kinds)("in one process, %j", (kind) => {
  test("stopped after any batch", async () => {
    const whole = freshPath();
    await train(library, { ...kind, path: whole });
    const expected = await readFile(whole);
    for (let batches = 1; batches <= batchesInAll; batches++) {
      const path = freshPath();
      await trainUntil({ ...kind, path }, batches);
      await train(library, { ...kind, path });
      expectSameBytes(await readFile(path), expected, `stopped after ${batches}`);
    }
  });

  test("stopped after every batch", async () => {
    const whole = freshPath();
    await train(library, { ...kind, path: whole });
    const path = freshPath();
    for (let batches = 1; batches <= batchesInAll; batches++) {
      await trainUntil({ ...kind, path }, 1);
    }
    await train(library, { ...kind, path });
    expectSameBytes(await readFile(path), await readFile(whole));
  });
});

describe.each([true, false])("in processes that are killed, loader with a seed: %s", (isSeeded) => {
  const program = (path: string, killAfter: number) => `
    import * as library from ${JSON.stringify(pathToFileURL("dist/index.js").href)};
    import { train } from ${JSON.stringify(pathToFileURL("test/support/resumable.mjs").href)};
    await train(library, {
      path: ${JSON.stringify(path)},
      isSeeded: ${isSeeded},
      afterBatch(batches) {
        if (batches === ${killAfter}) process.kill(process.pid, "SIGKILL");
      },
    });`;

  function trainInChild(path: string, killAfter: number): NodeJS.Signals | number | null {
    const args = ["--input-type=module", "--eval", program(path, killAfter)];
    const child = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 25_000 });
    expect(child.stderr).toBe("");
    return child.signal ?? child.status;
  }

  test("in the middle of a pass, at its very end, at the next one's beginning", async () => {
    const whole = freshPath();
    expect(trainInChild(whole, -1)).toBe(0);
    const path = freshPath();
    for (const killAfter of [3, 2, 1, 6]) expect(trainInChild(path, killAfter)).toBe("SIGKILL");
    expect(trainInChild(path, -1)).toBe(0);
    expectSameBytes(await readFile(path), await readFile(whole));
  });
});
