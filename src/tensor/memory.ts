import type { Device } from "../backend/backend.ts";
import { createdBackends } from "../backend/select.ts";
import { liveTensors } from "./lifetime.ts";

/** What one device holds and how it runs. */
export interface DeviceMemory {
  readonly device: Device;
  readonly liveBytes: number;
  /** Highest `liveBytes` since the process began. */
  readonly peakBytes: number;
  readonly threads: number;
  /** Which build of the kernels runs on how many threads, and why; a sentence each. */
  readonly notes: readonly string[];
}

export interface Memory {
  /** Tensor handles that have not ended; those of parameters, gradients and buffers too. */
  readonly tensors: number;
  readonly liveBytes: number;
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
