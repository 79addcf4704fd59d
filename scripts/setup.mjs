/**
 * Brings a checkout to the point where its programs run: dependencies, wasm kernels, build/modules/ (src/
 * compiled file by file), dist/ (what users install: the same in a few files), build/examples/ and, when asked with the
 * argument `bench`, build/bench/. Runs before `npm start` and `npm test` in a fresh clone, so it needs nothing but Node, and
 * it repeats nothing that is already done: every step compares what it would read and write with what it found when it
 * last succeeded.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const oldestNode = [20, 19];
const lockFile = "package-lock.json";
// npm writes it last, so an interrupted installation has none.
const installed = "node_modules/.package-lock.json";

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
requireNode();
installDependencies();
run("Compiling the kernels", process.execPath, ["scripts/build-kernels.mjs"]);
make({
  command: tsc("tsconfig.json"),
  output: "build/modules",
  inputs: ["src", "tsconfig.json", "package.json", installed],
});
make({
  command: (fresh) => ["scripts/bundle.mjs", "build/modules", fresh],
  output: "dist",
  inputs: ["build/modules", "scripts/bundle.mjs", "package.json", installed],
});
make({
  command: tsc("tsconfig.examples.json"),
  output: "build/examples",
  inputs: ["examples", "dist", "tsconfig.examples.json", "tsconfig.json", installed],
});
if (process.argv.includes("bench")) {
  make({
    command: tsc("tsconfig.bench.json"),
    output: "build/bench",
    inputs: ["bench", "dist", "tsconfig.bench.json", "tsconfig.json", installed],
  });
}

function requireNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [oldestMajor, oldestMinor] = oldestNode;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  fail(`evenkeel needs Node ${oldestNode.join(".")} or newer, and this is ${process.version}.`);
}

function installDependencies() {
  const lockTime = fs.statSync(lockFile).mtimeMs;
  if (fs.existsSync(installed) && fs.statSync(installed).mtimeMs >= lockTime) return;
  console.error("Installing the dependencies (npm ci) ...");
  const npm = process.env.npm_execpath; // how npm itself was started, when a script of package.json runs this
  const command = ["ci", "--include=dev", "--no-audit", "--no-fund"];
  if (npm?.endsWith(".js")) run("npm ci", process.execPath, [npm, ...command]);
  else run("npm ci", "npm", command);
  // A lock file dated in the future (a copied tree, a wrong clock) must not mean one installation per start.
  const seconds = Math.ceil(lockTime / 1000);
  if (fs.statSync(installed).mtimeMs < lockTime) fs.utimesSync(installed, seconds, seconds);
}

/** The arguments with which Node compiles a project into a folder. */
function tsc(project) {
  return (folder) => ["node_modules/typescript/bin/tsc", "-p", project, "--outDir", folder];
}

/** Runs a program into an empty folder and puts that in place of `output`, so that no deleted file lives on there. */
function make({ command, output, inputs }) {
  const stamp = join("build", `${output.replaceAll("/", "-")}.stamp`);
  const before = fingerprint(inputs);
  const isCurrent = () => fs.readFileSync(stamp, "utf8") === before + fingerprint([output]);
  if (fs.existsSync(stamp) && fs.existsSync(output) && isCurrent()) return;

  console.error(`Making ${output} ...`);
  const fresh = `${join("build", output.replaceAll("/", "-"))}.${process.pid}`;
  run(`Making ${output}`, process.execPath, command(fresh), () => removeAll(fresh));
  removeAll(output);
  fs.mkdirSync(dirname(output), { recursive: true });
  fs.renameSync(fresh, output);
  fs.writeFileSync(stamp, before + fingerprint([output]));
}

/** Changes when a file is added, removed, renamed or written: names, sizes and times, which is cheap at every start. */
function fingerprint(paths) {
  const hash = createHash("sha256");
  for (const file of paths.flatMap(filesUnder).sort()) {
    const { size, mtimeMs } = fs.statSync(file);
    hash.update(`${file}\0${size}\0${mtimeMs}\0`);
  }
  return hash.digest("hex");
}

function filesUnder(path) {
  if (!fs.statSync(path).isDirectory()) return [path];
  const entries = fs.readdirSync(path, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Runs a program with its whole output on standard error: standard output belongs to the program that starts next. */
function run(step, program, args, cleanUp = () => {}) {
  const { status, signal, error } = spawnSync(program, args, { stdio: ["ignore", 2, 2] });
  if (status === 0) return;
  cleanUp();
  fail(`${step} failed (${error?.message ?? signal ?? `exit code ${status}`}).`);
}

function removeAll(path) {
  fs.rmSync(path, { recursive: true, force: true });
}

function fail(sentence) {
  console.error(sentence);
  process.exit(1);
}
