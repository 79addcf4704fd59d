/**
 * `npm test`: set-up, every test, and one plain last line, "N passed, N failed".
 * Whatever goes wrong outside of a test (set-up, a file that does not load, an error nobody caught) counts as a failure.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const report = "build/test-report.json";
// A test stuck in a synchronous loop can't be timed out from inside.
const longestRunMs = 40 * 60 * 1000;

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const counts = isSetUp() ? runTests() : { passed: 0, failed: 1, skipped: 0 };
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`);
process.exitCode = counts.failed > 0 ? 1 : 0;

function isSetUp() {
  return spawnSync(process.execPath, ["scripts/setup.mjs"], { stdio: "inherit" }).status === 0;
}

function runTests() {
  rmSync(report, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${report}`];
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "--allowOnly=false", ...reporters];
  const { status } = spawnSync(process.execPath, [...vitest, ...process.argv.slice(2)], {
    stdio: ["ignore", "inherit", "inherit"],
    timeout: longestRunMs,
    killSignal: "SIGKILL",
  });
  const counts = existsSync(report) ? count(JSON.parse(readFileSync(report, "utf8"))) : nothing();
  const isClean = status === 0 && counts.passed > 0;
  if (!isClean && counts.failed === 0) {
    console.log("The test run itself went wrong; this counts as one failure.");
    counts.failed = 1;
  }
  return counts;
}

function count({ testResults }) {
  const counts = nothing();
  for (const { status, assertionResults } of testResults) {
    const failed = assertionResults.filter((test) => test.status === "failed").length;
    const passed = assertionResults.filter((test) => test.status === "passed").length;
    counts.passed += passed;
    counts.skipped += assertionResults.length - passed - failed;
    // A file that failed without a failed test did not load, or broke in a hook.
    counts.failed += status === "failed" && failed === 0 ? 1 : failed;
  }
  return counts;
}

function nothing() {
  return { passed: 0, failed: 0, skipped: 0 };
}
