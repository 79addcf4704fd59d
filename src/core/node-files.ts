import { ArgumentError } from "./errors.ts";

/**
 * Node's file system and paths, loaded without an import so that the package loads in pages too.
 * Throws ArgumentError in a page; `hint` says what to do there.
 */
export function nodeFiles(op: string, hint: string) {
  const load = globalThis.process?.getBuiltinModule;
  if (load === undefined) {
    throw new ArgumentError({
      op,
      expected: "Node 20.16 or newer, where there are files",
      actual: "a page",
      hint,
    });
  }
  return { fs: load("node:fs/promises"), path: load("node:path") };
}
