/**
 * Compiles src/backend/cpu/kernels/*.ts twice (plain and relaxed SIMD) and embeds both modules (compressed), their kernel
 * names and the worker's text in src/backend/cpu/embedded.js, so that importing the package needs no fetch and no bundler
 * plug-in.
 *
 * A kernel file that another one imports holds helpers; every other file is an entry and each of its exports a kernel.
 * Does nothing when the output is newer than everything it is made from; `--force` builds all the same.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { deflateRawSync } from "node:zlib";

const run = promisify(execFile);
const script = fileURLToPath(import.meta.url);
const cpu = fileURLToPath(new URL("../src/backend/cpu/", import.meta.url));
const kernels = join(cpu, "kernels");
const worker = join(cpu, "worker.js");
const output = join(cpu, "embedded.js");
const assemblyscript = createRequire(import.meta.url).resolve("assemblyscript/package.json");

/** Limits of the memory that a module imports, in pages of 64 KiB; src/backend/cpu/memory.ts creates it. */
const pages = { initial: 16, maximum: 65536 };

const sections = { import: 2, export: 7, data: 11 };

async function modifiedAt(path) {
  const entry = await stat(path).catch(() => undefined);
  return entry === undefined ? Number.NEGATIVE_INFINITY : entry.mtimeMs;
}

async function isFresh(inputs) {
  const times = await Promise.all(inputs.map(modifiedAt));
  return (await modifiedAt(output)) > Math.max(...times);
}

/** Kernel files that no other kernel file imports. */
async function entriesOf(files) {
  const helpers = new Set();
  for (const file of files) {
    const text = await readFile(file, "utf8");
    for (const [, name] of text.matchAll(/from "\.\/([\w-]+)(?:\.ts)?"/g)) {
      helpers.add(join(kernels, `${name}.ts`));
    }
  }
  return files.filter((file) => !helpers.has(file));
}

/** The module, and what the compiler has to say about it. */
async function compile(entries, outFile, features) {
  const asc = join(assemblyscript, "..", "bin", "asc.js");
  const memory = ["--initialMemory", `${pages.initial}`, "--maximumMemory", `${pages.maximum}`];
  // Warning 112 is about vectors in exports, and every helper is an export to the compiler.
  const { stderr } = await run(process.execPath, [
    ...[asc, ...entries, "-o", outFile, "-O3", "--noAssert", "--runtime", "stub"],
    ...["--importMemory", "--noExportMemory", ...memory, "--enable", features],
    ...["--disableWarning", "112"],
  ]);
  return { bytes: await readFile(outFile), warnings: stderr };
}

/** An unsigned LEB128 number: [value, position behind it]. */
function unsigned(bytes, start) {
  let value = 0;
  for (let at = start, scale = 1; ; at++, scale *= 128) {
    value += (bytes[at] & 127) * scale;
    if (bytes[at] < 128) return [value, at + 1];
  }
}

/** Where the contents of each section begin, by section id. */
function sectionsOf(bytes) {
  const starts = new Map();
  for (let at = 8; at < bytes.length; ) {
    const [size, start] = unsigned(bytes, at + 1);
    starts.set(bytes[at], start);
    at = start + size;
  }
  return starts;
}

/**
 * Position of the flag that says whether the imported memory is shared. The module is the same for both kinds, so the
 * run time sets this one byte instead of carrying two more builds.
 */
function memoryFlagAt(bytes) {
  const starts = sectionsOf(bytes);
  if (starts.has(sections.data)) {
    throw new Error(
      "kernels must have no static data (string, array, Math.pow, ...): it would lie on the heap",
    );
  }
  let [count, at] = unsigned(bytes, starts.get(sections.import));
  for (let field = 0; field < 2; field++) {
    const [length, start] = unsigned(bytes, at);
    at = start + length;
  }
  const isMemory = bytes[at] === 2 && bytes[at + 1] === 1;
  if (count !== 1 || !isMemory) throw new Error("kernels must import nothing but their memory");
  return at + 1;
}

/** Names of the exports, read from the bytes because this process may be unable to compile the relaxed build. */
function exportsOf(bytes) {
  let [count, at] = unsigned(bytes, sectionsOf(bytes).get(sections.export));
  const names = [];
  for (; count > 0; count--) {
    const [length, start] = unsigned(bytes, at);
    names.push(Buffer.from(bytes.subarray(start, start + length)).toString());
    [, at] = unsigned(bytes, start + length + 1);
  }
  return names.sort();
}

function embed({ plain, relaxed, names, workerSource }) {
  const text = (name, about, value) =>
    `/**\n * ${about}\n * @type {string}\n */\nexport const ${name} =\n  ${JSON.stringify(value)};\n`;
  const compressed = (module) => deflateRawSync(module, { level: 9 }).toString("base64");
  const base64 = "Base64 of the compressed module for";
  return [
    "// Generated by scripts/build-kernels.mjs.\n",
    text("plainKernels", `${base64} plain SIMD.`, compressed(plain)),
    text("relaxedKernels", `${base64} relaxed SIMD.`, compressed(relaxed)),
    "/** Bytes of each module before compression. */",
    `export const moduleBytes = { plain: ${plain.length}, relaxed: ${relaxed.length} };\n`,
    "/** Position in each module of the byte that is 3 for a shared memory and 1 for one that is not. */",
    `export const memoryFlagAt = { plain: ${memoryFlagAt(plain)}, relaxed: ${memoryFlagAt(relaxed)} };\n`,
    "/** The limits each module declares for its memory, in pages of 64 KiB. */",
    `export const memoryPages = { initial: ${pages.initial}, maximum: ${pages.maximum} };\n`,
    "/** Exports of both modules. */",
    `export const kernelNames = /** @type {const} */ (${JSON.stringify(names)});\n`,
    text("workerSource", "Text of worker.js.", workerSource),
  ].join("\n");
}

async function main() {
  const names = (await readdir(kernels)).filter((name) => name.endsWith(".ts")).sort();
  const files = names.map((name) => join(kernels, name));
  const inputs = [...files, kernels, worker, script, assemblyscript];
  if (!process.argv.includes("--force") && (await isFresh(inputs))) return;

  const folder = await mkdtemp(join(tmpdir(), "kernels-"));
  try {
    const entries = await entriesOf(files);
    const [plain, relaxed] = await Promise.all([
      compile(entries, join(folder, "plain.wasm"), "simd,bulk-memory"),
      compile(entries, join(folder, "relaxed.wasm"), "simd,bulk-memory,relaxed-simd"),
    ]);
    process.stderr.write(plain.warnings);
    const kernelNames = exportsOf(plain.bytes);
    if (kernelNames.join() !== exportsOf(relaxed.bytes).join()) {
      throw new Error("the plain and the relaxed build export different kernels");
    }
    const workerSource = await readFile(worker, "utf8");
    // Written beside the target and renamed, so that a process that imports it meanwhile never sees half a file.
    const partial = `${output}.${process.pid}`;
    const modules = { plain: plain.bytes, relaxed: relaxed.bytes };
    await writeFile(partial, embed({ ...modules, names: kernelNames, workerSource }));
    await rename(partial, output);
    const sizes = `${plain.bytes.length} and ${relaxed.bytes.length} bytes`;
    process.stdout.write(`${kernelNames.length} kernels, ${sizes}\n`);
  } finally {
    await rm(folder, { recursive: true });
  }
}

await main().catch((error) => {
  process.stderr.write(`${error.stderr ?? error.message}\n`);
  process.exitCode = 1;
});
