import type { TypedArray } from "../../core/dtype.ts";
import { narrowToFloat16, toFloat16, widenFloat16 } from "../../core/half.ts";
import type { Backend } from "../backend.ts";
import type { Bits, View } from "./memory.ts";

/** Moving elements: to their place, and to another type. Storing in a typed array does the rounding and the wrapping. */
export function movementKernels(
  view: View,
  bits: Bits,
): Pick<Backend, "fill" | "copy" | "cast" | "stridedCopy" | "stridedWrite"> {
  return {
    fill(out, value) {
      view(out).fill(out.dtype === "bool" ? Number(value !== 0) : value);
    },
    copy(x, out) {
      view(out).set(view(x));
    },
    cast(x, out) {
      if (x.dtype === "float16") return view(out).set(widenFloat16(bits(x)));
      if (out.dtype === "float16") return bits(out).set(narrowed(view(x)));
      const [xs, outs] = [view(x), view(out)];
      const toBool = out.dtype === "bool";
      for (let i = 0; i < outs.length; i++) outs[i] = toBool ? Number(xs[i] !== 0) : xs[i];
    },
    stridedCopy(x, out, { shape, strides }) {
      const [xs, outs] = [view(x), view(out)];
      for (let i = 0; i < outs.length; i++) outs[i] = xs[source(i, shape, strides)];
    },
    stridedWrite(x, out, { shape, strides }, accumulate) {
      const [xs, outs] = [view(x), view(out)];
      for (let i = 0; i < xs.length; i++) {
        const at = source(i, shape, strides);
        outs[at] = accumulate ? outs[at] + xs[i] : xs[i];
      }
    },
  };
}

/** float32 keeps the fractions of NaN; float64 is rounded once. */
function narrowed(xs: TypedArray): Uint16Array {
  return xs instanceof Float32Array ? narrowToFloat16(xs) : Uint16Array.from(xs, toFloat16);
}

/** Where element `flat` of the dense side lies in the strided side: its coordinates, last axis fastest, times the strides. */
export function source(flat: number, shape: readonly number[], strides: readonly number[]): number {
  let position = 0;
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    position += (rest % shape[axis]) * strides[axis];
    rest = Math.floor(rest / shape[axis]);
  }
  return position;
}
