/** `npm run size`: lines per folder of src/, what dist/ weighs, and what a page that uses it makes its visitors load. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const pages = {
  "everything the package has": 'export * from "evenkeel";',
  "a small page: one layer and an optimizer": `
    import { nn, optim, tensor } from "evenkeel";
    const bn = new nn.BatchNorm1d(2);
    console.log(bn(tensor([[1, 2]])), new optim.SGD(bn.parameters(), { lr: 0.1 }));`,
  "tensors alone": 'import { tensor } from "evenkeel"; console.log(tensor([1]));',
};

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
printLines();
printBytes();
await printPages();

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
  const sizes = filesUnder("dist").map((file) => [file, sizeOf(readFileSync(file))]);
  console.log("  bytes  gzipped  dist, each file compressed by itself");
  for (const ending of [".js", ".d.ts"]) {
    const part = new Map(sizes.filter(([file]) => file.endsWith(ending)));
    printSize({ plain: total(part, "plain"), gzipped: total(part, "gzipped") }, `*${ending}`);
  }
}

/** What a page would load, by what it imports: bundled, minified, without what the bundler finds unused. */
async function printPages() {
  const kernels = readFileSync("src/backend/cpu/embedded.js");
  console.log("\n  bytes  gzipped  of a page, minified");
  for (const [name, code] of Object.entries(pages)) {
    printSize(sizeOf(await bundlePage(code)), name);
  }
  printSize(sizeOf(kernels), "kernels, part of each of them");
}

async function bundlePage(code) {
  const bundle = await rolldown({
    input: "page",
    platform: "browser",
    external: Object.keys(JSON.parse(readFileSync("package.json", "utf8")).dependencies),
    plugins: [
      {
        name: "page",
        resolveId: (id) => (id === "page" ? id : null),
        load: (id) => (id === "page" ? code : null),
      },
    ],
  });
  const { output } = await bundle.generate({ format: "esm", minify: true });
  await bundle.close();
  return output.map((chunk) => chunk.code).join("");
}

function sizeOf(content) {
  return { plain: Buffer.byteLength(content), gzipped: gzipSync(content).length };
}

function printSize({ plain, gzipped }, name) {
  console.log(`${`${plain}`.padStart(7)}  ${`${gzipped}`.padStart(7)}  ${name}`);
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
