/** The CPU backend: WebAssembly SIMD kernels over one shared memory, spread over worker threads. */
import { hostView, type TypedArray } from "../../core/dtype.ts";
import type { Backend, Operand } from "../backend.ts";
import { withFloat16 } from "../half.ts";
import { batchNormKernels } from "./batch-norm.ts";
import { convKernels } from "./conv.ts";
import { elementwiseKernels } from "./elementwise.ts";
import { indexingKernels } from "./indexing.ts";
import { addressOf, createMachine, type Machine, type MachineOptions } from "./machine.ts";
import { matmulKernels } from "./matmul.ts";
import { movementKernels } from "./movement.ts";
import { optimizerKernels } from "./optimizer.ts";
import { poolKernels } from "./pool.ts";
import { reduceKernels } from "./reduce.ts";
import { softmaxKernels } from "./softmax.ts";

export { setThreads } from "./machine.ts";
export { setWinograd, type WinogradChoice } from "./winograd-choice.ts";

/**
 * A CPU backend with a memory and threads of its own. Compiles the kernels, unless another backend has; starts no thread
 * before the first large operation.
 *
 * Throws: ArgumentError unless `threads` is an integer from 1 to 256 and `winograd` a choice that there is.
 */
export function createCpuBackend(options: MachineOptions = {}): Backend {
  const machine = createMachine(options);
  return withFloat16({
    device: "cpu",
    dtypes: ["float32", "int32", "uint8", "bool"],
    statisticsDType: "float64",
    readsSynchronously: true,
    ...memoryKernels(machine),
    ...movementKernels(machine),
    ...elementwiseKernels(machine),
    ...reduceKernels(machine),
    ...softmaxKernels(machine),
    ...indexingKernels(machine),
    ...matmulKernels(machine),
    ...batchNormKernels(machine),
    ...convKernels(machine),
    ...poolKernels(machine),
    ...optimizerKernels(machine),
  });
}

type MemoryKernels = Pick<Backend, "alloc" | "free" | "write" | "read" | "readSync" | "memory">;

function memoryKernels(machine: Machine): MemoryKernels {
  const { memory } = machine;
  const view = (x: Operand): TypedArray => hostView(x.dtype, memory.buffer, addressOf(x), x.length);
  // `slice` of a view of shared memory gives an array with a buffer of its own.
  const readSync = (x: Operand): TypedArray => view(x).slice();
  return {
    alloc: (bytes) => memory.alloc(bytes),
    free: (handle) => memory.free(handle),
    write: (out, source) => view(out).set(source),
    read: async (x) => {
      const values = readSync(x);
      await machine.settle();
      return values;
    },
    readSync,
    memory: () => ({
      liveBytes: memory.liveBytes - machine.ownBytes,
      peakBytes: memory.peakBytes,
      threads: machine.threads,
      notes: machine.notes,
    }),
  };
}
