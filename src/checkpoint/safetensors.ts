/**
 * The safetensors format: a little-endian uint64 with the length of the header, the header in JSON (name -> dtype, shape,
 * data_offsets counted from the header's end), then the values without gaps.
 * Source: the format section of the safetensors README; the checks are those of its Rust reader, with offsets.
 */

import { bytesOf, type Entry, type EntryDType, entryArray, soundEntry } from "../core/entry.ts";
import { CheckpointError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { type JsonNode, jsonMembers } from "./json.ts";
import { LazyStateDict, type Loadable } from "./lazy-state-dict.ts";
import type { ByteSource } from "./source.ts";

const nameByDType: Readonly<Record<EntryDType, string>> = {
  float64: "F64",
  float32: "F32",
  float16: "F16",
  bfloat16: "BF16",
  int64: "I64",
  int32: "I32",
  int16: "I16",
  int8: "I8",
  uint64: "U64",
  uint32: "U32",
  uint16: "U16",
  uint8: "U8",
  bool: "BOOL",
};

const dtypeByName = new Map(
  (Object.keys(nameByDType) as EntryDType[]).map((dtype) => [nameByDType[dtype], dtype]),
);

/** The format's own limit on the header, in bytes. */
const longestHeader = 100_000_000;

/**
 * Reads the header of a safetensors file.
 * Throws: CheckpointError with the byte offset at which the file is not what it should be.
 */
export async function openSafetensors(source: ByteSource): Promise<LazyStateDict> {
  const dataStart = await headerEnd(source);
  const header = await source.read(0, dataStart);
  const entries = new Map<string, Loadable>();
  const places: Place[] = [];
  for (const [key, node] of jsonMembers(header, { from: 8, to: dataStart })) {
    if (key === "__metadata__") {
      checkMetadata(node);
      continue;
    }
    const place = readPlace(key, node);
    places.push(place);
    entries.set(key, entryAt(source, dataStart, place));
  }
  checkCover(places, { dataStart, fileEnd: source.size });
  return new LazyStateDict(entries);
}

/** The file as pieces to be written one after the other: header, then one piece per entry. */
export function* formatSafetensors(entries: ReadonlyMap<string, Entry>): Generator<Uint8Array> {
  // Wide types first keeps every value aligned for readers that map the file; the header keeps the order of the dict.
  const laidOut = [...entries].sort(([, a], [, b]) => bytesOf[b.dtype] - bytesOf[a.dtype]);
  const offsets = new Map<string, [number, number]>();
  let end = 0;
  for (const [key, entry] of laidOut) {
    const start = end;
    end += sizeOf(entry.shape) * bytesOf[entry.dtype];
    offsets.set(key, [start, end]);
  }
  const members = [...entries].map(([key, { dtype, shape }]) => {
    const place = { dtype: nameByDType[dtype], shape, data_offsets: offsets.get(key) };
    return `${JSON.stringify(key)}:${JSON.stringify(place)}`;
  });
  // Joined by hand: an object would move keys that look like numbers to the front.
  yield headerBytes(`{${['"__metadata__":{"format":"pt"}', ...members].join(",")}}`);
  for (const [, entry] of laidOut) {
    const { buffer, byteOffset, byteLength } = entry.data();
    yield new Uint8Array(buffer, byteOffset, byteLength);
  }
}

function headerBytes(header: string): Uint8Array {
  const json = new TextEncoder().encode(header);
  const length = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(8 + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, 8);
  return bytes;
}

interface Place {
  readonly key: string;
  readonly dtype: EntryDType;
  readonly shape: readonly number[];
  /** Counted from the end of the header. */
  readonly start: number;
  readonly end: number;
  /** Where in the file the header says so. */
  readonly offset: number;
}

function fault(expected: string, actual: string, offset: number): CheckpointError {
  return new CheckpointError({
    op: "safetensors",
    expected: `${expected} at byte ${offset}`,
    actual,
    offset,
  });
}

/** Byte at which the header ends and the values begin. */
async function headerEnd({ size, read }: ByteSource): Promise<number> {
  if (size < 8) throw fault("8 bytes with the length of the header", `a file of ${size} bytes`, 0);
  const start = await read(0, Math.min(9, size));
  const length = new DataView(start.buffer, start.byteOffset).getBigUint64(0, true);
  if (length > longestHeader) {
    throw fault(`a header of at most ${longestHeader} bytes`, `${length}`, 0);
  }
  const end = 8 + Number(length);
  if (end > size || length === 0n) {
    throw fault(`a header of 2 to ${size - 8} bytes`, `${length}`, 0);
  }
  if (start[8] !== 0x7b)
    throw fault('"{", where the header starts,', `byte 0x${start[8].toString(16)}`, 8);
  return end;
}

function membersOf(node: JsonNode, what: string): Map<string, JsonNode> {
  if (node.value instanceof Map) return node.value;
  throw fault(`${what} to be an object`, kindOf(node.value), node.offset);
}

function checkMetadata(node: JsonNode): void {
  for (const [key, { value, offset }] of membersOf(node, "__metadata__")) {
    if (typeof value !== "string")
      throw fault(`text for __metadata__ "${key}"`, kindOf(value), offset);
  }
}

function readPlace(key: string, node: JsonNode): Place {
  const members = membersOf(node, `"${key}"`);
  const dtypeNode = members.get("dtype");
  const dtype = typeof dtypeNode?.value === "string" ? dtypeByName.get(dtypeNode.value) : undefined;
  if (dtype === undefined) {
    const known = [...dtypeByName.keys()].join(", ");
    throw fault(
      `"dtype" of "${key}" to be one of ${known}`,
      kindOf(dtypeNode?.value),
      dtypeNode?.offset ?? node.offset,
    );
  }
  const shape = wholeNumbers(members.get("shape"), { key, name: "shape", offset: node.offset });
  const range = members.get("data_offsets");
  const offset = range?.offset ?? node.offset;
  const ends = wholeNumbers(range, { key, name: "data_offsets", offset });
  if (ends.length !== 2) throw fault(`two "data_offsets" of "${key}"`, `${ends.length}`, offset);
  const [start, end] = ends;
  const length = sizeOf(shape) * bytesOf[dtype];
  if (!Number.isSafeInteger(length)) {
    throw fault(`a size of "${key}" that fits in 53 bits`, `(${shape.join(", ")})`, offset);
  }
  if (end - start !== length) {
    throw fault(
      `"${key}" of shape (${shape.join(", ")}) to take ${length} bytes`,
      `data_offsets [${start}, ${end}]`,
      offset,
    );
  }
  return { key, dtype, shape, start, end, offset };
}

function wholeNumbers(
  node: JsonNode | undefined,
  where: { readonly key: string; readonly name: string; readonly offset: number },
): number[] {
  const items = Array.isArray(node?.value) ? (node.value as readonly JsonNode[]) : [];
  const numbers = items.map(({ value }) => value);
  const isWhole = (value: unknown): value is number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  if (Array.isArray(node?.value) && numbers.every(isWhole)) return numbers;
  throw fault(
    `"${where.name}" of "${where.key}" to be a list of whole numbers`,
    node === undefined ? "nothing" : kindOf(node.value),
    node?.offset ?? where.offset,
  );
}

/** Ranges must follow each other without gap or overlap, from the end of the header to the end of the file. */
function checkCover(
  places: readonly Place[],
  file: { readonly dataStart: number; readonly fileEnd: number },
): void {
  let covered = 0;
  for (const { key, start, end, offset } of [...places].sort(byStart)) {
    if (start !== covered) {
      const trouble = start < covered ? "overlaps what comes before it" : "leaves bytes unused";
      throw fault(
        `"${key}" to start at ${covered} of the values`,
        `${start}, which ${trouble}`,
        offset,
      );
    }
    covered = end;
  }
  const expected = file.dataStart + covered;
  if (expected === file.fileEnd) return;
  throw new CheckpointError({
    op: "safetensors",
    expected: `a file of ${expected} bytes`,
    actual: `${file.fileEnd}`,
    hint:
      expected > file.fileEnd ? "the file was cut short: fetch it again" : "something follows it",
    offset: Math.min(expected, file.fileEnd),
  });
}

function byStart(a: Place, b: Place): number {
  return a.start - b.start || a.end - b.end;
}

function entryAt(source: ByteSource, dataStart: number, place: Place): Loadable {
  const { dtype, shape, start, end } = place;
  return {
    dtype,
    shape,
    async load(options) {
      const bytes = await source.read(dataStart + start, dataStart + end, options);
      return soundEntry({ dtype, shape, data: () => entryArray(dtype, bytes.slice().buffer) });
    },
  };
}

function kindOf(value: JsonNode["value"] | undefined): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return "a list";
  return value instanceof Map ? "an object" : JSON.stringify(value);
}
