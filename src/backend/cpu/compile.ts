/** Chooses between the two builds of the kernels, decompresses the chosen one and compiles it. */
import { inflateSync } from "fflate";
import { memoryFlagAt, moduleBytes, plainKernels, relaxedKernels } from "./embedded.js";
import type { Host } from "./host.ts";

export interface Compiled {
  readonly module: WebAssembly.Module;
  /** Which build this is and why, in one sentence. */
  readonly note: string;
}

interface Choice {
  readonly build: "plain" | "relaxed";
  readonly note: string;
}

/** A module of one function that computes f32x4.relaxed_madd: engines without relaxed SIMD refuse it. */
const probe = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0], // magic, version
  ...[1, 5, 1, 96, 0, 1, 123], // type () -> v128
  ...[3, 2, 1, 0], // one function of it
  ...[10, 19, 1, 17, 0], // its body, no locals
  ...[65, 0, 253, 17, 65, 0, 253, 17, 65, 0, 253, 17], // three times i32x4.splat(0)
  ...[253, 133, 2, 11], // f32x4.relaxed_madd, end
);

const compiled = new Map<string, WebAssembly.Module>();

/** Compiles on the first call of its kind; all backends of a process share the modules. */
export function compileKernels(
  host: Host,
  options: { readonly relaxed: boolean; readonly isShared: boolean },
): Compiled {
  const { build, note } = chooseBuild(host, options.relaxed);
  const key = `${build} ${options.isShared}`;
  const module = compiled.get(key) ?? compile(build, options.isShared);
  compiled.set(key, module);
  return { module, note };
}

function compile(build: Choice["build"], isShared: boolean): WebAssembly.Module {
  const text = atob(build === "relaxed" ? relaxedKernels : plainKernels);
  const compressed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) compressed[i] = text.charCodeAt(i);
  // The platforms' own decompressors are asynchronous in a browser, and the first operation needs its kernel at once.
  const bytes = inflateSync(compressed, { out: new Uint8Array(moduleBytes[build]) });
  bytes[memoryFlagAt[build]] = isShared ? 3 : 1;
  return new WebAssembly.Module(bytes);
}

function chooseBuild(host: Host, relaxed: boolean): Choice {
  if (!relaxed) return { build: "plain", note: "kernels: plain SIMD, as asked for" };
  if (host.environment("EVENKEEL_RELAXED_SIMD") === "0") {
    return { build: "plain", note: "kernels: plain SIMD, because EVENKEEL_RELAXED_SIMD is 0" };
  }
  if (WebAssembly.validate(probe)) {
    return { build: "relaxed", note: "kernels: relaxed SIMD (fused multiply-add)" };
  }
  const refusal = host.enableRelaxedSimd();
  if (refusal === null && WebAssembly.validate(probe)) {
    return { build: "relaxed", note: "kernels: relaxed SIMD, switched on in V8 by this library" };
  }
  const reason = refusal ?? "the engine does not know relaxed SIMD";
  return { build: "plain", note: `kernels: plain SIMD, because ${reason}` };
}
