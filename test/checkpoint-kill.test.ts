/** A process that dies while it writes leaves the old file or the new one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkpoint } from "../src/index.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "evenkeel-checkpoint-kill-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const kills = 20;
const count = 1 << 20;

/** Writes files of one number each, over and over. */
const program = (path: string) => `
  import { checkpoint } from ${JSON.stringify(pathToFileURL("dist/index.js").href)};
  const dict = (value) => ["first", "second"].map((key) => [
    key,
    { dtype: "float32", shape: [${count}], data: () => new Float32Array(${count}).fill(value) },
  ]);
  for (let value = 0; ; value++) {
    await checkpoint.write(${JSON.stringify(path)}, new Map(dict(value)));
    if (value === 0) process.stdout.write("written");
  }`;

test.each(["net.pth", "net.safetensors"])(
  "%s is whole after SIGKILL at any moment",
  { timeout: 60_000 },
  async (name) => {
    const path = join(folder, name);
    for (let kill = 0; kill < kills; kill++) {
      const child = spawn(process.execPath, ["--input-type=module", "--eval", program(path)]);
      await once(child.stdout, "data");
      await new Promise((resolve) => setTimeout(resolve, 60 * Math.random()));
      child.kill("SIGKILL");
      expect((await once(child, "exit"))[1]).toBe("SIGKILL");
      const dict = await checkpoint.read(path);
      const first = dict.get("first")?.data() ?? [];
      const second = dict.get("second")?.data() ?? [];
      const values = new Set<unknown>([...first, ...second]);
      expect([first.length, second.length, values.size]).toEqual([count, count, 1]);
    }
  },
);
