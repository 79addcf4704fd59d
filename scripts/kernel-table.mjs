/**
 * Writes the table of kernels into README.md: rows are the sections of the backend contract, columns the backends that the
 * contract suite runs on. `--check` only compares and exits with 1 when the table is out of date.
 */
import { readFileSync, writeFileSync } from "node:fs";

const start = "<!-- kernel table -->\n";
const end = "<!-- end of kernel table -->";

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

/** Names of the backends under test. */
function columns() {
  const source = readFileSync("test/support/backends.ts", "utf8");
  return [...source.matchAll(/name: "([^"]+)"/g)].map(([, name]) => name);
}

function table() {
  const names = columns();
  const rows = sections().map(
    ({ name, kernels }) =>
      `| ${name} | ${kernels.map((kernel) => `\`${kernel}\``).join(", ")} |${" yes |".repeat(names.length)}`,
  );
  return [
    `| | kernels | ${names.join(" | ")} |`,
    `|---|---|${"---|".repeat(names.length)}`,
    ...rows,
    "",
  ].join("\n");
}

const readme = readFileSync("README.md", "utf8");
const written =
  readme.slice(0, readme.indexOf(start) + start.length) +
  table() +
  readme.slice(readme.indexOf(end));
if (process.argv.includes("--check")) {
  if (written !== readme) {
    process.stderr.write(
      "README.md: the kernel table is out of date; run node scripts/kernel-table.mjs\n",
    );
    process.exit(1);
  }
} else {
  writeFileSync("README.md", written);
}
