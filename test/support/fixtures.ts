/** Reads the fixtures that PyTorch made. Shares nothing with the library's own reader, which could be wrong the same way. */
import { readFileSync } from "node:fs";
import type { Device } from "../../src/backend/backend.ts";
import type { DType } from "../../src/core/dtype.ts";
import { type Tensor, tensor } from "../../src/index.ts";

export const fixtureFolder = new URL("../fixtures/", import.meta.url);

export type FixtureValues = Float32Array | Float64Array | Int32Array | Uint8Array;

export interface FixtureTensor {
  readonly shape: readonly number[];
  readonly values: FixtureValues;
}

export interface Placement {
  readonly device: Device;
  /** For floating values; integers stay what they are. */
  readonly dtype: DType;
  readonly requiresGrad?: boolean;
}

interface HeaderEntry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** `<name>.safetensors`: tensors by key. */
export class Fixture {
  readonly #entries: Map<string, HeaderEntry>;
  readonly #data: Buffer;

  constructor(name: string) {
    const file = readFileSync(new URL(`${name}.safetensors`, fixtureFolder));
    const headerEnd = 8 + Number(file.readBigUInt64LE(0));
    const header: Record<string, HeaderEntry> = JSON.parse(file.toString("utf8", 8, headerEnd));
    this.#entries = new Map(Object.entries(header).filter(([key]) => key !== "__metadata__"));
    this.#data = file.subarray(headerEnd);
  }

  keys(): string[] {
    return [...this.#entries.keys()];
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  get(key: string): FixtureTensor {
    const entry = this.#entries.get(key);
    if (entry === undefined) throw new Error(`no ${key} in this fixture`);
    const bytes = Uint8Array.from(this.#data.subarray(...entry.data_offsets));
    return { shape: entry.shape, values: decode(key, entry.dtype, bytes.buffer) };
  }

  values(key: string): FixtureValues {
    return this.get(key).values;
  }

  /** The entry as a tensor of the library. */
  tensor(key: string, { device, dtype, requiresGrad = false }: Placement): Tensor {
    const { shape, values } = this.get(key);
    const isFloating = values instanceof Float32Array || values instanceof Float64Array;
    const options = isFloating ? { dtype, requiresGrad } : {};
    return tensor(values, { ...options, shape, device });
  }
}

function decode(key: string, dtype: string, buffer: ArrayBuffer): FixtureValues {
  switch (dtype) {
    case "F32":
      return new Float32Array(buffer);
    case "F64":
      return new Float64Array(buffer);
    case "I64":
      return Int32Array.from(new BigInt64Array(buffer), Number);
    case "U8":
      return new Uint8Array(buffer);
  }
  throw new Error(`${key} is of type ${dtype}`);
}

/** `<name>.json`: one value, described by the generator scripts. The caller states its type. */
export function readStructure<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`${name}.json`, fixtureFolder), "utf8"));
}

/** `<name>.jsonl`: one case a line. The caller states their type. */
export function readCases<T>(name: string): T[] {
  const lines = readFileSync(new URL(`${name}.jsonl`, fixtureFolder), "utf8")
    .trimEnd()
    .split("\n");
  return lines.map((line) => JSON.parse(line));
}
