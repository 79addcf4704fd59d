/** The same values with another dtype, on another device, or without history. */
import type { Device } from "../backend/backend.ts";
import { backendOf } from "../backend/select.ts";
import { type DType, isFloating } from "../core/dtype.ts";
import { record } from "../tensor/autograd.ts";
import {
  allocate,
  backendFor,
  checkSupported,
  operandOf,
  type Tensor,
  viewOf,
} from "../tensor/tensor.ts";
import * as raw from "./raw.ts";

const dtypes: readonly string[] = [
  "float32",
  "float16",
  "float64",
  "int32",
  "uint8",
  "bool",
] satisfies DType[];

function isDType(target: DType | Device): target is DType {
  return dtypes.includes(target);
}

/**
 * The values as another dtype or on another device; the tensor itself when nothing changes.
 * Gradients flow back through conversions between floating types and between devices.
 *
 * Throws: DTypeError for a dtype that the device does not have; DeviceError for a device that is not there.
 */
export function to(x: Tensor, target: DType | Device): Tensor {
  if (isDType(target)) return target === x.dtype ? x : toDType(x, target);
  return target === x.device ? x : toDevice(x, target);
}

function toDType(x: Tensor, dtype: DType): Tensor {
  checkSupported("to", backendFor(x), dtype);
  const out = raw.cast(x, dtype);
  if (!isFloating(dtype)) return out;
  const { dtype: from } = x;
  return record("to", [x], out, () => ({ saved: [], rule: (dy) => [raw.cast(dy, from)] }));
}

function toDevice(x: Tensor, device: Device): Tensor {
  const from = x.device;
  return record("to", [x], moved(x, device), () => ({
    saved: [],
    rule: (dy) => [moved(dy, from)],
  }));
}

/** Between devices values go through the host, which needs a source that reads synchronously. */
function moved(x: Tensor, device: Device): Tensor {
  const backend = backendOf(device);
  checkSupported("to", backend, x.dtype);
  const out = allocate(backend, x.shape, x.dtype);
  backend.write(operandOf(out), x.dataSync());
  return out;
}

/** `to("float16")`: half the memory, 11 significant bits, magnitudes from 6e-8 to 65504. Throws DTypeError as `to`. */
export function half(x: Tensor): Tensor {
  return to(x, "float16");
}

/** `to("float32")`. Throws as `to`. */
export function float(x: Tensor): Tensor {
  return to(x, "float32");
}

/** The same memory without history: gradients stop here. */
export function detach(x: Tensor): Tensor {
  return viewOf(x, x.shape);
}

/** A copy with its own memory; gradients flow through. */
export function clone(x: Tensor): Tensor {
  const out = allocate(backendFor(x), x.shape, x.dtype);
  backendFor(x).copy(operandOf(x), operandOf(out));
  return record("clone", [x], out, () => ({ saved: [], rule: (dy) => [dy] }));
}
