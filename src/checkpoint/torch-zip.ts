/** Files of `torch.save` since PyTorch 1.6: a zip archive of a pickle (`data.pkl`) and a file for each storage. */
import { bytesOf } from "../core/entry.ts";
import type { CheckpointError } from "../core/errors.ts";
import { Cursor } from "./cursor.ts";
import { unpickle } from "./pickle.ts";
import type { StateDict } from "./state-dict.ts";
import { type StorageId, torchHost } from "./torch-globals.ts";
import { stateDictOf } from "./torch-state.ts";
import { expandedLimit, Storage, storageDType } from "./torch-tensor.ts";
import { inflate, type ZipEntry, zipEntries } from "./zip.ts";

/** Throws: CheckpointError with the byte offset at which the file is not what it should be. */
export async function parseTorchZip(bytes: Uint8Array<ArrayBuffer>): Promise<StateDict> {
  const archive = new Archive(bytes);
  await archive.inflateAll();
  archive.requireLittleEndian();
  const cursor = archive.cursor("data.pkl");
  const storages = new Map<string, Storage>();
  const host = torchHost((id, at) => {
    const key = `${id.type} ${id.key} ${id.count}`;
    const storage = storages.get(key) ?? archive.storage(id, at);
    storages.set(key, storage);
    return storage;
  });
  const root = unpickle(cursor, host);
  return stateDictOf(root, cursor);
}

class Archive {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #entries: ReadonlyMap<string, ZipEntry>;
  /** The folder that all of it is in. */
  readonly #folder: string;
  readonly #inflated = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.#bytes = bytes;
    this.#entries = zipEntries(bytes);
    const pickles = [...this.#entries.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
    const isProgram = [...this.#entries.keys()].some((name) => name.endsWith("/constants.pkl"));
    if (isProgram) throw this.#fault("a state dict", "a TorchScript program");
    if (pickles.length !== 1) {
      const actual = pickles.length === 0 ? "a zip archive without" : `${pickles.length}`;
      throw this.#fault("a file of torch.save with one data.pkl", actual);
    }
    this.#folder = pickles[0].slice(0, -"data.pkl".length);
  }

  /** All deflated files at once, once it is known that they fit in memory. */
  async inflateAll(): Promise<void> {
    const deflated = [...this.#entries.values()].filter(({ isDeflated }) => isDeflated);
    const total = deflated.reduce((sum, { size }) => sum + size, 0);
    const limit = expandedLimit(this.#bytes.length);
    if (total > limit) {
      throw this.#fault(`files that inflate to at most ${limit} bytes`, `${total}`);
    }
    for (const entry of deflated) {
      this.#inflated.set(entry.name, await inflate(this.#bytes, entry));
    }
  }

  /** Files of before 2.1 do not say; they were little-endian wherever it mattered. */
  requireLittleEndian(): void {
    if (!this.#entries.has(`${this.#folder}byteorder`)) return;
    const cursor = this.cursor("byteorder");
    const order = cursor.text(Math.min(16, cursor.length));
    if (order === "little") return;
    throw cursor.fault("values in little-endian byte order", JSON.stringify(order), 0);
  }

  cursor(name: string): Cursor {
    const entry = this.#entries.get(this.#folder + name);
    if (entry === undefined) throw this.#fault(`"${name}" in the archive`, "none");
    const region = { bytes: this.#contentOf(entry), fileOffset: entry.start };
    return new Cursor(entry.isDeflated ? { ...region, inflatedName: name } : region);
  }

  storage({ type, key, count }: StorageId, cursor: Cursor): Storage {
    const dtype = storageDType(type) ?? "uint8";
    const entry = this.#entries.get(`${this.#folder}data/${key}`);
    const byteLength = count * bytesOf[dtype];
    if (entry?.size !== byteLength) {
      throw cursor.fault(
        `storage data/${key.slice(0, 40)} of ${byteLength} bytes`,
        entry === undefined ? "no such file in the archive" : `${entry.size} in the archive`,
      );
    }
    const bytes = this.#contentOf(entry);
    const byteLimit = expandedLimit(this.#bytes.length);
    return new Storage({ dtype, byteLength, bytes: () => bytes, byteLimit });
  }

  #contentOf(entry: ZipEntry): Uint8Array<ArrayBuffer> {
    return this.#inflated.get(entry.name) ?? this.#bytes.subarray(entry.start, entry.end);
  }

  #fault(expected: string, actual: string): CheckpointError {
    return new Cursor({ bytes: this.#bytes, fileOffset: 0 }).fault(expected, actual);
  }
}
