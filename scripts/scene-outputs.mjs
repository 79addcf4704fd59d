/**
 * Runs the scenes and writes what they print into the pages that show it: `node scripts/scene-outputs.mjs [scene ...]`, after
 * `npm run build`. A block that starts with three backticks and "text NAME" belongs to examples/scenes/NAME.ts.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const pages = ["docs/scenes.md", "docs/scenes.zh-CN.md"];
const block = /^```text (\S+)\n([\s\S]*?)^```$/gm;

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
const chosen = process.argv.slice(2);
const outputs = new Map();

for (const page of pages.filter((path) => existsSync(path))) {
  const text = readFileSync(page, "utf8");
  writeFileSync(
    page,
    text.replace(block, (whole, name) => {
      if (chosen.length > 0 && !chosen.includes(name)) return whole;
      return `\`\`\`text ${name}\n${outputOf(name)}\`\`\``;
    }),
  );
}

function outputOf(name) {
  const known = outputs.get(name);
  if (known !== undefined) return known;
  const program = `build/examples/scenes/${name}.js`;
  const output = execFileSync(process.execPath, [program], { encoding: "utf8" });
  outputs.set(name, output);
  return output;
}
