/** `npm run size`: lines per folder of src/, and what dist/ weighs, plain and gzipped. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
printLines();
printBytes();

function printLines() {
  const byFolder = new Map();
  const longest = { file: "", lines: 0 };
  // Generated files are no text that somebody has to read.
  for (const file of filesUnder("src").filter((file) => !file.endsWith("embedded.js"))) {
    const lines = readFileSync(file, "utf8").split("\n").length - 1;
    const folder = byFolder.get(dirname(file)) ?? { files: 0, lines: 0 };
    byFolder.set(dirname(file), { files: folder.files + 1, lines: folder.lines + lines });
    if (lines > longest.lines) Object.assign(longest, { file, lines });
  }
  console.log("files  lines  folder");
  for (const [folder, { files, lines }] of [...byFolder].sort())
    console.log(row(files, lines, folder));
  console.log(row(total(byFolder, "files"), total(byFolder, "lines"), "src in all"));
  console.log(`longest file: ${longest.file}, ${longest.lines} lines\n`);
}

function printBytes() {
  const sizes = filesUnder("dist").map((file) => {
    const bytes = readFileSync(file);
    return [relative("dist", file), { plain: bytes.length, gzipped: gzipSync(bytes).length }];
  });
  const code = new Map(sizes.filter(([file]) => file.endsWith(".js")));
  const types = new Map(sizes.filter(([file]) => file.endsWith(".d.ts")));
  console.log(" plain bytes  gzipped  dist, each file compressed by itself");
  for (const [name, part] of Object.entries({ "code (.js)": code, "types (.d.ts)": types })) {
    console.log(
      `${`${total(part, "plain")}`.padStart(12)} ${`${total(part, "gzipped")}`.padStart(8)}  ${name}`,
    );
  }
}

function filesUnder(folder) {
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

function total(map, field) {
  return [...map.values()].reduce((sum, entry) => sum + entry[field], 0);
}

function row(files, lines, name) {
  return `${`${files}`.padStart(5)}  ${`${lines}`.padStart(5)}  ${name}`;
}
