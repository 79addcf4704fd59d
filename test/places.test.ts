/**
 * One training program, wherever the package claims to run: installed from its tarball, in three lines of Node, in TypeScript
 * projects, and in a page that Vite has built. Where a place is missing its tests are skipped and say why.
 */
import { rmSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { Outcome } from "./places/program.ts";
import {
  type Found,
  makeProject,
  nodeOf,
  printed,
  type Site,
  serve,
  startChromium,
  trainInNode,
} from "./support/places.ts";

const nodeLines = [20, 22, 24];
const plain = { EVENKEEL_RELAXED_SIMD: "0" };

let project = "";
let installed: Found<true>;
let nodes = new Map<number, Promise<Found<string>>>();
/** What this Node makes of the program, with plain and with relaxed SIMD. */
let expected: { readonly plain: Outcome; readonly relaxed: Outcome };

beforeAll(async () => {
  nodes = new Map(nodeLines.map((line) => [line, nodeOf(line)]));
  ({ folder: project, installed } = await makeProject());
  expected = {
    plain: await trainInNode(process.execPath, project, plain),
    relaxed: await trainInNode(process.execPath, project),
  };
}, 120_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

/** Skips the test, with the reason shown, where something is missing. */
function need<T>(context: TestContext, place: Found<T> | undefined): T {
  if (place && "found" in place) return place.found;
  const reason = place?.missing ?? "nobody looked for it";
  process.stderr.write(`skipped: ${context.task.name}: ${reason}\n`);
  return context.skip(reason);
}

/** All that must be the same everywhere; how many threads did it, and what memory() says of that, may differ. */
function result({ threads: _, notes: __, ...rest }: Outcome): Omit<Outcome, "threads" | "notes"> {
  return rest;
}

test("npm installs the tarball in an empty project, and nothing but what it depends on", async (context) => {
  need(context, installed);
  const names = await readdir(join(project, "node_modules"));
  expect(names).toContain("evenkeel");
  // What cli-progress brings along; no sharp, which is optional.
  expect(names.length).toBeLessThan(12);
  expect(names).not.toContain("sharp");
});

describe("the program", () => {
  test("learns, and tells what it is made of", () => {
    const { losses, batchNorms, kinds, error, printed: tree, fromTorch } = expected.plain;
    expect(fromTorch).toEqual([1.5, -2]);
    expect(losses).toHaveLength(20);
    expect(losses[19]).toBeLessThan(losses[0] / 10);
    expect(batchNorms).toBe(1);
    expect(kinds.slice(0, 3)).toEqual(["Net", "Conv2d", "BatchNorm2d"]);
    expect(tree).toContain("(bn): BatchNorm2d(16, eps=1e-05");
    expect(error).toMatch(/^ShapeError: BatchNorm2d: expected/);
  });

  test("has results that a wrong bit would change", () => {
    expect(expected.plain.checksum).not.toBe(expected.relaxed.checksum);
  });

  test("does not depend on the number of threads", async () => {
    const alone = await trainInNode(process.execPath, project, { EVENKEEL_THREADS: "1" });
    const crowd = await trainInNode(process.execPath, project, { EVENKEEL_THREADS: "5" });
    expect([alone.threads, crowd.threads]).toEqual([1, 5]);
    expect(result(alone)).toEqual(result(expected.relaxed));
    expect(result(crowd)).toEqual(result(expected.relaxed));
  });
});

describe("Node", { timeout: 120_000 }, () => {
  test.for(nodeLines)("%i trains to the same bits, with either build", async (line, context) => {
    const node = need(context, await nodes.get(line));
    expect(result(await trainInNode(node, project, plain))).toEqual(result(expected.plain));
    expect(result(await trainInNode(node, project))).toEqual(result(expected.relaxed));
  });

  test.for(nodeLines)("%i gives the package to require()", async (line, context) => {
    const node = need(context, await nodes.get(line));
    const program = 'console.log(require("evenkeel").nn.BatchNorm2d.kind)';
    const text = await printed(node, ["--input-type=commonjs", "-e", program], { cwd: project });
    expect(text).toBe("BatchNorm2d\n");
  });
});

describe("a TypeScript project without types of Node", { timeout: 120_000 }, () => {
  const kinds = [
    { module: "nodenext", moduleResolution: "nodenext" },
    { module: "esnext", moduleResolution: "bundler" },
  ];

  // Without skipLibCheck, which can only hide errors.
  test.concurrent.for(kinds)("compiles with module resolution $moduleResolution", async (kind) => {
    const options = { ...kind, skipLibCheck: false };
    expect(await typeErrors({ ...options, files: ["program.ts"] })).toBe("");
  });

  test.concurrent("compiles as CommonJS that requires the package", async () => {
    const options = { module: "nodenext", moduleResolution: "nodenext", skipLibCheck: true };
    const name = "common.cts";
    const code = 'import { nn } from "evenkeel";\nexport const bn = new nn.BatchNorm2d(3);\n';
    await writeFile(join(project, name), code);
    expect(await typeErrors({ ...options, files: [name] })).toBe("");
  });

  test.concurrent("is told of a mistake", async () => {
    const options = { module: "esnext", moduleResolution: "bundler", skipLibCheck: true };
    const name = "mistake.ts";
    const code = 'import { tensor } from "evenkeel";\nexport const x: number = tensor(1).add(1);\n';
    await writeFile(join(project, name), code);
    expect(await typeErrors({ ...options, files: [name] })).toMatch(/TS2322: Type 'Tensor'/);
  });
});

describe("a page that Vite has built", { timeout: 120_000 }, () => {
  let warnings: readonly string[] = [];
  let chromium: Found<Browser>;
  let site: Site;

  beforeAll(async () => {
    warnings = await viteBuild({ base: "./" });
    site = await serve(join(project, "dist"));
    chromium = await startChromium();
  }, 120_000);

  afterAll(async () => {
    site.close();
    if (chromium && "found" in chromium) await chromium.found.close();
  });

  /** Opens the page under the headers of a place; what went wrong in it stands in `errors`. */
  async function open(context: TestContext, path: string) {
    const page = await need(context, chromium).newPage();
    const errors: string[] = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.goto(`${site.address}/${path}`);
    const outcome: Outcome = await page.evaluate("outcome");
    return { page, outcome, errors };
  }

  test("needs no set-up and gives no warning", () => {
    expect(warnings).toEqual([]);
  });

  test.for(["isolated/", "isolated/?worker"])(
    "trains on all cores at /%s, to the bits of Node",
    async (path, context) => {
      const { page, outcome, errors } = await open(context, path);
      expect(await page.evaluate("crossOriginIsolated")).toBe(true);
      expect(result(outcome)).toEqual(result(expected.relaxed));
      expect(outcome.threads).toBe(await page.evaluate("navigator.hardwareConcurrency"));
      expect(outcome.notes.join()).toMatch(/relaxed SIMD.*one for each core/);
      expect(errors).toEqual([]);
      await page.close();
    },
  );

  test("has threads that take part although the program awaits nothing slow", async (context) => {
    const { page, outcome } = await open(context, "isolated/");
    expect(page.workers()).toHaveLength(outcome.threads - 1);
    expect(await page.evaluate("seenAtWork()")).toBeGreaterThan(0);
    await page.close();
  });

  test("leaves no thread behind when its worker is terminated", async (context) => {
    const { page, outcome } = await open(context, "isolated/?worker");
    expect(page.workers()).toHaveLength(outcome.threads);
    await page.evaluate("endWorker()");
    await expect.poll(() => page.workers().length, { timeout: 10_000 }).toBe(0);
    await page.close();
  });

  test.for(["plain/", "plain/?worker"])(
    "trains on one thread at /%s, where memory can't be shared",
    async (path, context) => {
      const { page, outcome, errors } = await open(context, path);
      expect(await page.evaluate("crossOriginIsolated")).toBe(false);
      expect(result(outcome)).toEqual(result(expected.relaxed));
      expect(outcome.notes.join()).toMatch(/threads: 1, because .* can't share memory/);
      expect(ownWorkers(page)).toBe(0);
      expect(errors).toEqual([]);
      await page.close();
    },
  );

  test.for(["strict/", "strict/?worker"])(
    "trains on one thread at /%s, under a policy that forbids workers from blobs",
    async (path, context) => {
      const { page, outcome, errors } = await open(context, path);
      expect(result(outcome)).toEqual(result(expected.relaxed));
      expect(outcome.threads).toBe(1);
      expect(outcome.notes.join()).toMatch(/threads: 1, because .*Content-Security-Policy/);
      expect(ownWorkers(page)).toBe(0);
      expect(errors).toEqual([]);
      await page.close();
    },
  );
});

describe("a bundle", () => {
  test("of `tensor` alone is smaller than one of everything, and tensors have their methods", async () => {
    const small = await bundle("small", 'export { tensor } from "evenkeel";');
    const whole = await bundle("whole", 'export * from "evenkeel";');
    expect(small.bytes).toBeLessThan(0.8 * whole.bytes);
    expect(whole.warnings).toEqual([]);
    const { tensor } = await import(small.url);
    expect(await tensor([1, 2]).add(1).array()).toEqual([2, 3]);
  });

  test("of one layer leaves the other layers out", async () => {
    const one = await bundle("one", 'import { nn } from "evenkeel"; export default nn.Linear;');
    const all = await bundle("all", 'import { nn } from "evenkeel"; export default { ...nn };');
    expect(one.bytes).toBeLessThan(0.9 * all.bytes);
  });
});

/** Workers of the page that are not its own module worker. */
function ownWorkers(page: Page): number {
  return page.workers().filter((worker) => worker.url().startsWith("blob:")).length;
}

async function typeErrors(options: {
  readonly module: string;
  readonly moduleResolution: string;
  readonly skipLibCheck: boolean;
  readonly files: readonly string[];
}): Promise<string> {
  const { files, ...compilerOptions } = options;
  const name = `tsconfig.${Object.values(options).join("-")}.json`;
  const strict = { strict: true, exactOptionalPropertyTypes: true, noEmit: true, types: [] };
  const platform = { target: "es2022", lib: ["ES2022", "DOM"] };
  const content = { compilerOptions: { ...strict, ...platform, ...compilerOptions }, files };
  await writeFile(join(project, name), JSON.stringify(content));
  const args = [resolve("node_modules/typescript/bin/tsc"), "-p", name];
  return printed(process.execPath, args, { cwd: project }).catch(({ stdout }) => stdout);
}

async function bundle(name: string, code: string) {
  const entry = join(project, `${name}.js`);
  const outDir = join(project, `${name}-bundle`);
  await writeFile(entry, code);
  const lib = { entry, formats: ["es"], fileName: "bundle" };
  const warnings = await viteBuild({ build: { outDir, minify: true, lib } });
  const path = join(outDir, "bundle.js");
  const bytes = (await readFile(path)).length;
  return { bytes, warnings, url: pathToFileURL(path).href };
}

/** Builds the project; the warnings. */
async function viteBuild(options: object): Promise<readonly string[]> {
  const script = resolve("test/support/vite-build.mjs");
  const args = [script, JSON.stringify({ root: project, ...options })];
  return JSON.parse(await printed(process.execPath, args, { cwd: project }));
}
