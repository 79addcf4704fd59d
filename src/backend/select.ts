/** The backends of this process, made when first asked for. */
import { DeviceError } from "../core/errors.ts";
import type { Backend, Device } from "./backend.ts";
import { createCpuBackend } from "./cpu/index.ts";
import { createReferenceBackend } from "./reference/index.ts";

const backends = new Map<Device, Backend>();

/** Throws DeviceError for a device that this version or this machine does not have. */
export function backendOf(device: Device): Backend {
  const present = backends.get(device);
  if (present !== undefined) return present;
  const created = create(device);
  backends.set(device, created);
  return created;
}

function create(device: Device): Backend {
  switch (device) {
    case "cpu":
      return createCpuBackend();
    case "reference":
      return createReferenceBackend();
    default:
      throw new DeviceError({
        op: "device",
        expected: '"cpu" or "reference"',
        actual: JSON.stringify(device),
      });
  }
}

/** Those in use so far. */
export function createdBackends(): readonly Backend[] {
  return [...backends.values()];
}
