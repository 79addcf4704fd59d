import { existsSync, readdirSync } from "node:fs";

/** Paths of all files in a folder and below it, with forward slashes, sorted; none if there is no such folder. */
export function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { withFileTypes: true, recursive: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.map((entry) => `${entry.parentPath}/${entry.name}`.replaceAll("\\", "/")).sort();
}
