import type { Device } from "../backend/backend.ts";
import { createdBackends } from "../backend/select.ts";
import { liveTensors } from "./lifetime.ts";

/** What one device holds and how it runs. */
export interface DeviceMemory {
  /** Its name. */
  readonly device: Device;
  /** Bytes of the tensors on it, each shared memory once. */
  readonly liveBytes: number;
  /** Highest `liveBytes` since the process began. */
  readonly peakBytes: number;
  /** Threads that its kernels run on, the caller's included. */
  readonly threads: number;
  /** Which build of the kernels runs on how many threads, and why; a sentence each. */
  readonly notes: readonly string[];
}

/** What `memory` tells. */
export interface Memory {
  /** Tensor handles that have not ended; those of parameters, gradients and buffers too. */
  readonly tensors: number;
  /** Bytes of all live tensors on all devices. */
  readonly liveBytes: number;
  /** The devices that have been used so far. */
  readonly devices: readonly DeviceMemory[];
}

/** Live tensors and bytes, and for each device in use its peak and how its kernels run. */
export function memory(): Memory {
  const devices = createdBackends().map((backend) => ({
    device: backend.device,
    ...backend.memory(),
  }));
  const liveBytes = devices.reduce((sum, device) => sum + device.liveBytes, 0);
  return { tensors: liveTensors.count, liveBytes, devices };
}
