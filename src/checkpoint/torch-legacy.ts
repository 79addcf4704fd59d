/**
 * Files of `torch.save` before PyTorch 1.6: five pickles one after the other (a number that marks the format, its version, the
 * machine, the value, the keys of the storages), then each storage as an int64 count of elements and these.
 * Source: torch/serialization.py, `_legacy_save` and `_legacy_load`.
 */
import { bytesOf } from "../core/entry.ts";
import { Cursor, NeedsMore } from "./cursor.ts";
import type { LazyStateDict } from "./lazy-state-dict.ts";
import { unpickle } from "./pickle.ts";
import { describeValue, PickleDict, type PickleValue } from "./pickle-values.ts";
import type { ByteSource } from "./source.ts";
import { plainHost, type StorageId, torchHost } from "./torch-globals.ts";
import { stateDictOf } from "./torch-state.ts";
import { isCount, Storage, storageDType } from "./torch-tensor.ts";
import { expandedLimit } from "./zip.ts";

const magic = 0x1950a86a20f9469cfc6cn;
const protocol = 1001;

/** A storage, whose place in the file is known once the pickles are read. */
interface Place {
  readonly count: number;
  readonly width: number;
  start: number | null;
}

/** The pickles of most files fit. */
const firstWindow = 1 << 20;

/**
 * Reads the pickles and where the storages lie.
 * Throws: CheckpointError with the byte offset at which the file is not what it should be.
 */
export async function openTorchLegacy(source: ByteSource): Promise<LazyStateDict> {
  for (let length = firstWindow; ; length *= 8) {
    const end = Math.min(length, source.size);
    const bytes = await source.read(0, end);
    const cursor = new Cursor({ bytes, fileOffset: 0, isOpenEnded: end < source.size });
    try {
      return await parse(cursor, source);
    } catch (error) {
      if (!(error instanceof NeedsMore)) throw error;
    }
  }
}

async function parse(cursor: Cursor, source: ByteSource): Promise<LazyStateDict> {
  requireHeader(cursor);
  const places = new Map<string, Place>();
  const host = torchHost((id, at) => storageOf(places, { id, source, cursor: at }));
  const root = unpickle(cursor, host);
  const keys = unpickle(cursor, plainHost);
  await findStorages(places, keys, { source, cursor });
  return stateDictOf(root, cursor);
}

function requireHeader(cursor: Cursor): void {
  const first = unpickle(cursor, plainHost);
  if (first !== magic) {
    throw cursor.fault("a file of torch.save or safetensors", "a pickle of something else", 0);
  }
  const version = unpickle(cursor, plainHost);
  if (version !== protocol) {
    throw cursor.fault(`version ${protocol} of the format`, describeValue(version));
  }
  const machine = unpickle(cursor, plainHost);
  const isLittle = machine instanceof PickleDict ? machine.members.get("little_endian") : null;
  if (isLittle === true) return;
  throw cursor.fault(
    "values in little-endian byte order",
    `little_endian: ${describeValue(isLittle ?? null)}`,
  );
}

function storageOf(
  places: Map<string, Place>,
  {
    id,
    source,
    cursor,
  }: { readonly id: StorageId; readonly source: ByteSource; readonly cursor: Cursor },
): Storage {
  const { type, key, count, view } = id;
  const dtype = storageDType(type) ?? "uint8";
  const width = bytesOf[dtype];
  const place = places.get(key) ?? { count, width, start: null };
  if (place.count !== count || place.width !== width) {
    throw cursor.fault(`storage ${key.slice(0, 40)} as named before`, "another size of it");
  }
  places.set(key, place);
  const [first, length] = view === null ? [0, count] : viewRange(view, count, cursor);
  const bytes: ByteSource = {
    size: length * width,
    read(start, end, options) {
      const from = (place.start ?? 0) + first * width;
      return source.read(from + start, from + end, options);
    },
  };
  return new Storage({ dtype, bytes, byteLimit: expandedLimit(source.size) });
}

/** (key, offset, count): a part of the storage that is one by itself. */
function viewRange(view: PickleValue, count: number, cursor: Cursor): [number, number] {
  const [, start, length] = Array.isArray(view) ? view : [];
  if (isCount(start) && isCount(length) && start + length <= count) return [start, length];
  throw cursor.fault(`a part of a storage of ${count} elements`, describeValue(view));
}

/** Behind the pickles: each storage as its count of elements and these. Only the counts are read. */
async function findStorages(
  places: ReadonlyMap<string, Place>,
  keys: PickleValue,
  { source, cursor }: { readonly source: ByteSource; readonly cursor: Cursor },
): Promise<void> {
  if (!Array.isArray(keys)) throw cursor.fault("a list of storages", describeValue(keys));
  let at = cursor.at;
  for (const key of keys) {
    const place = typeof key === "string" ? places.get(key) : undefined;
    if (place === undefined || place.start !== null) {
      throw cursor.fault("each storage of a tensor once", describeValue(key), at);
    }
    const bytes = await source.read(at, Math.min(at + 8, source.size));
    const count = new Cursor({ bytes, fileOffset: at }).uint64();
    if (count !== place.count) {
      throw cursor.fault(`a storage of ${place.count} elements`, `${count}`, at);
    }
    place.start = at + 8;
    at = place.start + count * place.width;
    if (at > source.size) {
      throw cursor.fault(`${at - source.size} more bytes`, "the end", source.size);
    }
  }
  if (at !== source.size)
    throw cursor.fault("the file's end", `${source.size - at} more bytes`, at);
  const missing = [...places].find(([, { start }]) => start === null);
  if (missing !== undefined) {
    throw cursor.fault(`storage ${missing[0].slice(0, 40)} of a tensor`, "none");
  }
}
