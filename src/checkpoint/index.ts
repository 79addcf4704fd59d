/** Reading and writing state dicts as files. */
export type { Entry, EntryArray, EntryDType } from "../core/entry.ts";
export { read } from "./checkpoint.ts";
export type { FileOptions } from "./files.ts";
export { type Plain, StateDict } from "./state-dict.ts";
export { type Writable, type WritableData, write } from "./write.ts";
