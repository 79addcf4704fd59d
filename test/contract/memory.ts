import { expect } from "vitest";
import type { Backend, Operand } from "../../src/backend/backend.ts";
import { bytesPerElement, type DType, dtypeOf, type TypedArray } from "../../src/core/dtype.ts";
import { OutOfMemoryError } from "../../src/core/errors.ts";
import { Generator } from "../../src/core/random.ts";
import { expectSameBytes } from "../support/close.ts";
import type { Claim } from "./backend.ts";

/** Allocation, writing and reading. */
export function memoryContract(claim: Claim): void {
  claim("memory: handles are not 0 and differ, zero bytes included", (backend) => {
    const handles = [0, 1, 64, 0].map((bytes) => backend.alloc(bytes));
    expect(handles).not.toContain(0);
    expect(new Set(handles).size).toBe(handles.length);
    for (const handle of handles) backend.free(handle);
  });

  claim("memory: live bytes follow alloc and free, the peak stays", (backend) => {
    const before = backend.memory().liveBytes;
    const handles = [1000, 3000].map((bytes) => backend.alloc(bytes));
    const during = backend.memory();
    for (const handle of handles) backend.free(handle);
    const after = backend.memory();
    expect(during.liveBytes - before).toBeGreaterThanOrEqual(4000);
    expect(after.liveBytes).toBe(before);
    expect(after.peakBytes).toBeGreaterThanOrEqual(during.liveBytes);
  });

  claim("memory: the report names at least one thread and has notes in words", (backend) => {
    const { threads, notes } = backend.memory();
    expect(threads).toBeGreaterThanOrEqual(1);
    expect(notes.filter((note) => !/\w \w/.test(note))).toEqual([]);
  });

  claim("memory: what does not fit is an error with its bytes", (backend) => {
    const bytes = 2 ** 50;
    expect(() => backend.alloc(bytes)).toThrow(OutOfMemoryError);
    expect(() => backend.alloc(bytes)).toThrow(expect.objectContaining({ bytes }));
  });

  claim("memory: values of every type come back as the same bits", async (backend) => {
    for (const source of samples(backend)) {
      const x = hold(backend, source);
      expectSameBytes(await backend.read(x), source);
      backend.free(x.handle);
    }
  });

  claim("memory: readSync gives what read gives", async (backend) => {
    for (const source of samples(backend)) {
      const x = hold(backend, source);
      expectSameBytes(backend.readSync(x), await backend.read(x));
      backend.free(x.handle);
    }
  });

  claim("memory: writes and reads are copies", async (backend) => {
    const source = Float32Array.of(1, 2, 3);
    const x = hold(backend, source);
    source.fill(7);
    const first = await backend.read(x);
    first.fill(8);
    const second = await backend.read(x);
    expect([...second]).toEqual([1, 2, 3]);
    expect(second.buffer).not.toBe((await backend.read(x)).buffer);
    expect(second.buffer).toBeInstanceOf(ArrayBuffer);
    backend.free(x.handle);
  });

  claim("memory: an operand with an offset is a window on its allocation", async (backend) => {
    const x = hold(backend, Float32Array.of(10, 11, 12, 13, 14));
    const middle = { ...x, offset: 1, length: 3 };
    expect([...(await backend.read(middle))]).toEqual([11, 12, 13]);
    backend.write(middle, Float32Array.of(21, 22, 23));
    expect([...(await backend.read(x))]).toEqual([10, 21, 22, 23, 14]);
    backend.free(x.handle);
  });

  claim("memory: allocations never overlap in any order", async (backend) => {
    const generator = new Generator(11);
    const live: { operand: Operand; values: TypedArray }[] = [];
    for (let i = 0; i < 400; i++) {
      const length = Math.floor(generator.uniform() ** 3 * 5000);
      const values = new Int32Array(length).fill(i);
      live.push({ operand: hold(backend, values), values });
      const leaving = live.splice(
        Math.floor(generator.uniform() * live.length),
        i % 3 === 0 ? 2 : 0,
      );
      for (const { operand, values } of leaving) await expectHeld(backend, operand, values);
    }
    for (const { operand, values } of live) await expectHeld(backend, operand, values);
  });
}

async function expectHeld(backend: Backend, x: Operand, values: TypedArray): Promise<void> {
  expectSameBytes(await backend.read(x), values, `allocation ${values[0]}`);
  backend.free(x.handle);
}

function hold(backend: Backend, source: TypedArray, dtype: DType = dtypeOf(source)): Operand {
  const handle = backend.alloc(source.length * bytesPerElement(dtype));
  const x = { handle, offset: 0, length: source.length, dtype };
  backend.write(x, source);
  return x;
}

/** One array for each type the backend has, its statistics type included, and an empty one. */
function samples(backend: Backend): TypedArray[] {
  const floats = [0, -0, 1.5, -1e-40, 3.4e38, Number.NaN, Infinity, -Infinity, 0.1];
  const all = [
    Float32Array.from(floats),
    new Float32Array(0),
    Int32Array.of(0, -1, 2147483647, -2147483648),
    Uint8Array.of(0, 1, 255),
    Float64Array.from([...floats, 1e300, 0.1]),
  ];
  const present = new Set<DType>([...backend.dtypes, backend.statisticsDType]);
  return all.filter((array) => present.has(dtypeOf(array)));
}
