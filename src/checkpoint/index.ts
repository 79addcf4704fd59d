/** Reading and writing state dicts as files. */
export type { Entry, EntryArray, EntryDType, EntryInfo } from "../core/entry.ts";
export type { FileOptions } from "./files.ts";
export type { LazyStateDict } from "./lazy-state-dict.ts";
export { type CheckpointSource, open, read } from "./read.ts";
export { type Plain, StateDict } from "./state-dict.ts";
export { type Writable, type WritableData, write } from "./write.ts";
