/** The packages of bench/peers/packages. They are large and not installed with the project, so their types are stated where used. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const folder = "bench/peers/packages";

// This program is compiled into another folder than the one in which its packages are installed.
const require = createRequire(resolve(folder, "package.json"));

export function load<Shape>(name: string): Shape {
  return require(name) as Shape;
}

export function versionOf(name: string): string {
  // Read as a file, because a package need not export it.
  return JSON.parse(readFileSync(`${folder}/node_modules/${name}/package.json`, "utf8")).version;
}

/** Numbers between -1 and 1. */
export function randomValues(size: number): Float32Array {
  return Float32Array.from({ length: size }, () => 2 * Math.random() - 1);
}
