/** Reading and writing state dicts as files. */
export type { Entry, EntryArray, EntryDType } from "../core/entry.ts";
export { read, type Writable, write } from "./checkpoint.ts";
export type { FileOptions } from "./files.ts";
export { type Plain, StateDict } from "./state-dict.ts";
