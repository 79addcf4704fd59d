/**
 * Files of `torch.save` before PyTorch 1.6: five pickles one after the other (a number that marks the format, its version, the
 * machine, the value, the keys of the storages), then each storage as an int64 count of elements and these.
 * Source: torch/serialization.py, `_legacy_save` and `_legacy_load`.
 */
import { bytesOf } from "../core/entry.ts";
import { Cursor } from "./cursor.ts";
import { unpickle } from "./pickle.ts";
import { describeValue, PickleDict, type PickleValue } from "./pickle-values.ts";
import type { StateDict } from "./state-dict.ts";
import { plainHost, type StorageId, torchHost } from "./torch-globals.ts";
import { stateDictOf } from "./torch-state.ts";
import { expandedLimit, isCount, Storage, storageDType } from "./torch-tensor.ts";

const magic = 0x1950a86a20f9469cfc6cn;
const protocol = 1001;

/** A storage's memory, whose place is known once the pickles are read. */
interface Place {
  readonly count: number;
  readonly width: number;
  bytes: Uint8Array<ArrayBuffer> | null;
}

/** Throws: CheckpointError with the byte offset at which the file is not what it should be. */
export function parseTorchLegacy(bytes: Uint8Array<ArrayBuffer>): StateDict {
  const cursor = new Cursor({ bytes, fileOffset: 0 });
  requireHeader(cursor);
  const places = new Map<string, Place>();
  const host = torchHost((id, at) => storageOf(places, id, at));
  const root = unpickle(cursor, host);
  readStorages(places, unpickle(cursor, plainHost), cursor);
  const end = cursor.at;
  if (end !== cursor.length)
    throw cursor.fault("the file's end", `${cursor.length - end} more bytes`);
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

function storageOf(places: Map<string, Place>, id: StorageId, cursor: Cursor): Storage {
  const { type, key, count, view } = id;
  const dtype = storageDType(type) ?? "uint8";
  const width = bytesOf[dtype];
  const place = places.get(key) ?? { count, width, bytes: null };
  if (place.count !== count || place.width !== width) {
    throw cursor.fault(`storage ${key.slice(0, 40)} as named before`, "another size of it");
  }
  places.set(key, place);
  const [start, length] = view === null ? [0, count] : viewRange(view, count, cursor);
  const bytes = () => {
    const all = place.bytes ?? new Uint8Array(0);
    return all.subarray(start * width, (start + length) * width);
  };
  return new Storage({
    dtype,
    byteLength: length * width,
    bytes,
    byteLimit: expandedLimit(cursor.length),
  });
}

/** (key, offset, count): a part of the storage that is one by itself. */
function viewRange(view: PickleValue, count: number, cursor: Cursor): [number, number] {
  const [, start, length] = Array.isArray(view) ? view : [];
  if (isCount(start) && isCount(length) && start + length <= count) return [start, length];
  throw cursor.fault(`a part of a storage of ${count} elements`, describeValue(view));
}

function readStorages(places: ReadonlyMap<string, Place>, keys: PickleValue, cursor: Cursor): void {
  if (!Array.isArray(keys)) throw cursor.fault("a list of storages", describeValue(keys));
  for (const key of keys) {
    const place = typeof key === "string" ? places.get(key) : undefined;
    if (place === undefined || place.bytes !== null) {
      throw cursor.fault("each storage of a tensor once", describeValue(key));
    }
    const at = cursor.at;
    const count = cursor.uint64();
    if (count !== place.count) {
      throw cursor.fault(`a storage of ${place.count} elements`, `${count}`, at);
    }
    place.bytes = cursor.take(count * place.width);
  }
  const missing = [...places].find(([, { bytes }]) => bytes === null);
  if (missing !== undefined) {
    throw cursor.fault(`storage ${missing[0].slice(0, 40)} of a tensor`, "none");
  }
}
