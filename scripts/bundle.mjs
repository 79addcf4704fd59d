/**
 * Bundles what the compiler made of src/ into a few files, `node scripts/bundle.mjs FROM TO`: importing two hundred modules one by
 * one costs several times what six files do. Code stays readable, npm packages stay outside, and the declarations are copied as
 * they are.
 */
import { cpSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { rolldown } from "rolldown";

const [from, to] = process.argv.slice(2);
const index = resolve(from, "index.js");
const { dependencies = {}, peerDependencies = {} } = JSON.parse(
  readFileSync("package.json", "utf8"),
);
const installed = Object.keys({ ...dependencies, ...peerDependencies });

// A file for each namespace (`nn`): inside one file it would be an object, of which users' bundlers must keep every member.
const exported = readFileSync(index, "utf8").matchAll(/export \* as (\w+) from "(.+)"/g);
const namespaces = new Map(Array.from(exported, ([, name, path]) => [path, name]));
const inputs = Array.from(namespaces, ([path, name]) => [name, resolve(from, path)]);

const bundle = await rolldown({
  input: { index, cli: resolve(from, "cli/main.js"), ...Object.fromEntries(inputs) },
  external: (id) =>
    id.startsWith("node:") || installed.some((name) => id === name || id.startsWith(`${name}/`)),
  platform: "neutral",
  plugins: [
    {
      name: "package",
      resolveId(path, importer) {
        const name = importer === index ? namespaces.get(path) : undefined;
        return name === undefined ? null : { id: `./${name}.js`, external: true };
      },
      // package.json's `sideEffects` speaks of dist/; here ops/methods.js is imported for nothing but its effect.
      transform: () => ({ moduleSideEffects: true }),
    },
  ],
  onLog(level, log) {
    if (level === "warn") throw new Error(log.message);
  },
});
const shared = { groups: [{ name: "shared", minShareCount: 2 }] };
await bundle.write({ dir: to, format: "esm", chunkFileNames: "[name].js", codeSplitting: shared });
await bundle.close();
cpSync(from, to, {
  recursive: true,
  filter: (path) => !path.endsWith(".js"),
});
