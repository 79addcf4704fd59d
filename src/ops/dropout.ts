import { ArgumentError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { record } from "../tensor/autograd.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { checkFloating } from "./check.ts";
import { reshape } from "./view.ts";

export interface DropoutOptions {
  /** Off: x passes unchanged. Default true. */
  readonly training?: boolean;
}

/**
 * Zeroes each element with probability `p` and scales the rest by 1 / (1 - p), so that the expected value stays.
 * One draw of the generator that `manualSeed` seeds decides the whole mask, on every device and for any number of threads alike.
 *
 * Throws: ArgumentError unless 0 <= p <= 1.
 */
export function dropout(x: Tensor, p = 0.5, { training = true }: DropoutOptions = {}): Tensor {
  checkFloating("dropout", x);
  if (!(p >= 0 && p <= 1)) {
    throw new ArgumentError({ op: "dropout", expected: "p in [0, 1]", actual: String(p) });
  }
  if (!training || p === 0) return reshape(x, x.shape);
  const seed = defaultGenerator.uint32();
  const backend = backendFor(x);
  const y = allocate(backend, x.shape, x.dtype);
  backend.dropout(operandOf(x), operandOf(y), p, seed);
  return record("dropout", [x], y, () => ({
    saved: [],
    rule: (dy) => {
      const dx = allocate(backend, dy.shape, dy.dtype);
      backend.dropout(operandOf(dy), operandOf(dx), p, seed);
      return [dx];
    },
  }));
}
