/**
 * Writes the table of kernels into README.md: runs the contract suite and counts, for each section of the backend contract and
 * each backend, the claims that passed. `--check` runs nothing: it only says whether the table names the contract's kernels.
 */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const start = "<!-- kernel table -->\n";
const end = "<!-- end of kernel table -->";
const report = "build/contract-report.json";

/** Words that claims use for the operations of one kernel. */
const kernelOf = {
  ...{ add: "binary", sub: "binary", mul: "binary", div: "binary", neg: "unary" },
  ...{ sum: "reduce", max: "reduce", logSoftmax: "softmax" },
};

const readme = readFileSync("README.md", "utf8");
if (process.argv.includes("--check")) {
  const missing = sections().filter((section) => !readme.includes(firstCells(section)));
  const names = missing.map(({ name }) => name).join(", ");
  if (missing.length > 0)
    process.stderr.write(`README.md lacks ${names}: run ${process.argv[1]}\n`);
  process.exit(missing.length > 0 ? 1 : 0);
}

const tests = runSuite();
const backends = [...new Set(tests.map(({ backend }) => backend))];
const rows = sections().map((section) => {
  const { kernels } = section;
  const cells = backends.map((backend) => {
    const claims = tests.filter((test) => test.backend === backend && belongs(test.claim, kernels));
    return `${claims.filter(({ passed }) => passed).length} of ${claims.length}`;
  });
  return `${firstCells(section)} ${cells.join(" | ")} |`;
});
const table = [
  `| | kernels | ${backends.join(" | ")} |`,
  `|---|---|${"---|".repeat(backends.length)}`,
  ...rows,
  "",
].join("\n");
const before = readme.slice(0, readme.indexOf(start) + start.length);
writeFileSync("README.md", before + table + readme.slice(readme.indexOf(end)));

function firstCells({ name, kernels }) {
  return `| ${name} | ${kernels.map((kernel) => `\`${kernel}\``).join(", ")} |`;
}

function runSuite() {
  const vitest = ["node_modules/vitest/vitest.mjs", "run", "test/contract/contract.test.ts"];
  const output = ["--reporter=json", `--outputFile=${report}`];
  spawnSync(process.execPath, [...vitest, ...output], { stdio: "inherit" });
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  return testResults.flatMap(({ assertionResults }) =>
    assertionResults.map(({ ancestorTitles, title, status }) => ({
      backend: ancestorTitles.at(-1),
      claim: title,
      passed: status === "passed",
    })),
  );
}

/** Sections of the contract with their kernels, in order. */
function sections() {
  const contract = readFileSync("src/backend/backend.ts", "utf8");
  const body = contract.slice(contract.indexOf("export interface Backend {"));
  return body
    .split(/\n {2}\/\/ -{4} /)
    .slice(1)
    .map((text) => ({
      name: text.slice(0, text.indexOf(" -")),
      kernels: [...text.matchAll(/^ {2}(\w+)\(/gm)].map(([, kernel]) => kernel),
    }));
}

/** Claims start with their kernel, an element type before it where that matters: "int32 binary add: ...". */
function belongs(claim, kernels) {
  const [first, ...rest] = claim.split(/[\s:,]+/);
  const word = ["float16", "int32", "uint8", "bool"].includes(first) ? rest[0] : first;
  return kernels.includes(kernelOf[word] ?? word);
}
