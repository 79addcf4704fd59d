/** Reading and writing state dicts as files. */
export { read, type Writable, write } from "./checkpoint.ts";
export type { Entry, EntryArray, EntryDType, StateDict } from "./entry.ts";
