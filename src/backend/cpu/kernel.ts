import { DeviceError } from "../../core/errors.ts";

/** A kernel as JavaScript sees it: its arguments, then chunk and thread. */
export type Kernel = (...args: number[]) => void;

/** Runs all chunks on the calling thread. Throws: DeviceError when the kernel fails. */
export function runAlone(
  name: string,
  kernel: Kernel,
  chunks: number,
  args: readonly number[],
): void {
  const all = args.concat(0, 0);
  try {
    for (let chunk = 0; chunk < chunks; chunk++) {
      all[args.length] = chunk;
      kernel(...all);
    }
  } catch (error) {
    throw kernelFailed(name, error);
  }
}

/** A kernel trapped or threw: its arguments were wrong, since kernels check nothing. */
export function kernelFailed(name: string, cause: unknown): DeviceError {
  return new DeviceError({
    op: name,
    expected: "the kernel to run to its end",
    actual: String(cause),
    hint: "this is a defect of the library; the result is undefined",
    cause,
  });
}
