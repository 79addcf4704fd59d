import type { Backend } from "../../src/backend/backend.ts";
import { createReferenceBackend } from "../../src/backend/reference/index.ts";
import type { DType, TypedArray } from "../../src/core/dtype.ts";
import { DeviceError } from "../../src/core/errors.ts";
import type { Tensor } from "../../src/index.ts";
import { allocate, operandOf } from "../../src/tensor/tensor.ts";

/** The reference device as if it were a GPU: it computes the same and can only be read by waiting. */
const waiting: Backend = {
  ...createReferenceBackend(),
  readsSynchronously: false,
  readSync() {
    throw new DeviceError({ op: "readSync", expected: "nobody to read", actual: "a read" });
  },
};

/** A tensor on a device that cannot be read at once. */
export function onWaitingDevice(
  values: TypedArray,
  { shape, dtype }: { readonly shape: readonly number[]; readonly dtype: DType },
): Tensor {
  const t = allocate(waiting, shape, dtype);
  waiting.write(operandOf(t), values);
  return t;
}
