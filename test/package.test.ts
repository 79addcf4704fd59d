import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { pathToFileURL } from "node:url";
import { beforeAll, describe, expect, test } from "vitest";

const importBudgetMs = 60;
/** The import takes what its fastest run takes: other programs only ever make one slower. */
const mostRuns = 20;
const entry = pathToFileURL("dist/index.js").href;

/** Imports the package in a fresh process that counts what the import starts, and must end by itself. */
const probe = `
import childProcess from "node:child_process";
import workerThreads from "node:worker_threads";
import { syncBuiltinESMExports } from "node:module";
let started = 0;
const counting = (start) => new Proxy(start, {
  apply: (...call) => (started++, Reflect.apply(...call)),
  construct: (...call) => (started++, Reflect.construct(...call)),
});
workerThreads.Worker = counting(workerThreads.Worker);
for (const name of ["spawn", "fork", "exec", "execFile", "spawnSync", "execSync", "execFileSync"]) {
  childProcess[name] = counting(childProcess[name]);
}
syncBuiltinESMExports();
const before = performance.now();
const names = Object.keys(await import(process.argv[1]));
process.stdout.write(JSON.stringify({ ms: performance.now() - before, started, names }));
`;

interface Imported {
  readonly ms: number;
  readonly started: number;
  readonly names: readonly string[];
}

function importInChild(url: string): Imported {
  const args = ["--input-type=module", "--eval", probe, "--", url];
  const child = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20_000 });
  if (child.status !== 0) throw new Error(`import failed (${child.signal}): ${child.stderr}`);
  return JSON.parse(child.stdout);
}

function packedFiles(): string[] {
  const npm = process.env.npm_execpath;
  const [program, ...start] = npm?.endsWith(".js") ? [process.execPath, npm] : ["npm"];
  const args = [...start, "pack", "--dry-run", "--json", "--ignore-scripts"];
  const { stdout, stderr, status } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`npm pack failed: ${stderr}`);
  const [{ files }] = JSON.parse(stdout);
  return files.map(({ path }: { path: string }) => path);
}

describe("the packed files", () => {
  let files: string[] = [];
  beforeAll(() => {
    files = packedFiles();
  });

  test("are the built package and four texts", () => {
    const texts = files.filter((path) => !path.startsWith("dist/"));
    expect(texts.sort()).toEqual(["CHANGELOG.md", "LICENSE", "README.md", "package.json"]);
  });

  test("are bundled JavaScript, all in one folder, and types", () => {
    const built = files.filter((path) => path.startsWith("dist/"));
    const code = built.filter((path) => path.endsWith(".js"));
    expect(built.filter((path) => !/\.(js|d\.ts)$/.test(path))).toEqual([]);
    expect(code.filter((path) => path.split("/").length > 2)).toEqual([]);
    expect(code).toContain("dist/index.js");
  });

  test("hold every declaration that another one names", () => {
    const missing = files
      .filter((path) => path.endsWith(".d.ts"))
      .flatMap((path) => {
        const named = readFileSync(path, "utf8").match(/(?<=from |import |import\()"\.[^"]+"/g);
        return (named ?? []).map((quoted) => posix.join(posix.dirname(path), quoted.slice(1, -1)));
      })
      .filter((path) => !files.includes(path.replace(/\.[jt]s$/, ".d.ts")));
    expect(missing).toEqual([]);
  });

  test("hold everything that package.json points to", () => {
    const { exports, sideEffects } = JSON.parse(readFileSync("package.json", "utf8"));
    const { types, default: main } = exports["."];
    const targets = [types, main, exports["./package.json"], ...sideEffects];
    expect(targets.filter((path) => !files.includes(path.replace("./", "")))).toEqual([]);
  });

  test("import nothing that users would not have installed", () => {
    const { dependencies, peerDependencies } = JSON.parse(readFileSync("package.json", "utf8"));
    const installed = { ...dependencies, ...peerDependencies };
    const named = files
      .filter((path) => path.endsWith(".js"))
      .flatMap((path) => readFileSync(path, "utf8").match(/(?<=from |import\()"[^"]+"/g) ?? [])
      .map((quoted) => quoted.slice(1, -1))
      .filter((name) => !/^(\.|node:)/.test(name));
    // Of a scoped package the first two parts are its name, of others the first.
    const packages = named.map((name) => name.match(/^(@[^/]+\/)?[^/]+/)?.[0] ?? name);
    expect(packages.filter((name) => !(name in installed))).toEqual([]);
  });
});

describe("importing the package", () => {
  test(`takes at most ${importBudgetMs} ms`, () => {
    const times: number[] = [];
    const fastest = () => Math.min(...times);
    while (times.length < 5 || (times.length < mostRuns && fastest() > importBudgetMs)) {
      times.push(importInChild(entry).ms);
    }
    const shown = times.map((ms) => ms.toFixed(1)).join(", ");
    expect(fastest(), `import took ${shown} ms`).toBeLessThanOrEqual(importBudgetMs);
  });

  test("starts no thread and no process, and lets the process end", () => {
    expect(importInChild(entry).started).toBe(0);
  });

  test("gives the names of the package's index", () => {
    expect(existsSync("dist/index.d.ts")).toBe(true);
    expect(importInChild(entry).names).toContain("EvenkeelError");
  });

  test("gives classes that are called what they are exported as", () => {
    const classes = `
      const { nn, optim, data, checkpoint, ...rest } = await import(process.argv[1]);
      const named = [nn, optim, data, checkpoint, rest].flatMap((space) => Object.entries(space));
      const isClass = (value) => typeof value === "function" && /^class\\b/.test(value);
      const pairs = named.filter(([, value]) => isClass(value)).map(([key, { name }]) => [key, name]);
      process.stdout.write(JSON.stringify(pairs));`;
    const args = ["--input-type=module", "--eval", classes, "--", entry];
    const pairs = JSON.parse(spawnSync(process.execPath, args, { encoding: "utf8" }).stdout);
    expect(pairs.map(([, name]: string[]) => name)).toEqual(pairs.map(([key]: string[]) => key));
    expect(pairs.length).toBeGreaterThan(20);
  });

  test("is seen when it starts a thread or never ends", () => {
    const worker = 'import { Worker } from "node:worker_threads"; new Worker("", { eval: true });';
    expect(importInChild(moduleUrl(worker)).started).toBe(1);
    const stuck = 'await new Promise((done) => setTimeout(done, 100)); throw new Error("stuck");';
    expect(() => importInChild(moduleUrl(stuck))).toThrow("stuck");
  });
});

function moduleUrl(code: string): string {
  return `data:text/javascript,${encodeURIComponent(code)}`;
}
