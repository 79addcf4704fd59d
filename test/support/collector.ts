import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { nextMacrotask } from "../../src/tensor/lifetime.ts";

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

/** Waits until what is unreachable has been collected and its finalizers have run. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await nextMacrotask();
    collect();
  }
  await nextMacrotask();
}
