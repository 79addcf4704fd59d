import type { Backend } from "../backend.ts";
import type { View } from "./memory.ts";

/** out[p, m, n] = sum over k of a[p, m, k] * b[p, k, n], either input stored transposed or not. */
export function matmulKernels(view: View): Pick<Backend, "matmul"> {
  return {
    matmul(a, b, out, { M, N, K, transposeA, transposeB, batch, aStep, bStep }) {
      const [lefts, rights, outs] = [view(a), view(b), view(out)];
      for (let p = 0; p < batch; p++) {
        for (let m = 0; m < M; m++) {
          for (let n = 0; n < N; n++) {
            let sum = 0;
            for (let k = 0; k < K; k++) {
              const left = lefts[p * aStep + (transposeA ? k * M + m : m * K + k)];
              const right = rights[p * bStep + (transposeB ? n * K + k : k * N + n)];
              sum += left * right;
            }
            outs[(p * M + m) * N + n] = sum;
          }
        }
      }
    },
  };
}
