import type { Backend } from "../backend.ts";
import type { View } from "./memory.ts";

/** out[m, n] = sum over k of a[m, k] * b[k, n], either input stored transposed or not. */
export function matmulKernels(view: View): Pick<Backend, "matmul"> {
  return {
    matmul(a, b, out, { M, N, K, transposeA, transposeB }) {
      const [lefts, rights, outs] = [view(a), view(b), view(out)];
      for (let m = 0; m < M; m++) {
        for (let n = 0; n < N; n++) {
          let sum = 0;
          for (let k = 0; k < K; k++) {
            const left = lefts[transposeA ? k * M + m : m * K + k];
            const right = rights[transposeB ? n * K + k : k * N + n];
            sum += left * right;
          }
          outs[m * N + n] = sum;
        }
      }
    },
  };
}
