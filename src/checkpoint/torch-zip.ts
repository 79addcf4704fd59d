/** Files of `torch.save` since PyTorch 1.6: a zip archive of a pickle (`data.pkl`) and a file for each storage. */
import { bytesOf } from "../core/entry.ts";
import { CheckpointError } from "../core/errors.ts";
import { Cursor } from "./cursor.ts";
import type { LazyStateDict } from "./lazy-state-dict.ts";
import { unpickle } from "./pickle.ts";
import type { ByteSource } from "./source.ts";
import { type StorageId, torchHost } from "./torch-globals.ts";
import { stateDictOf } from "./torch-state.ts";
import { Storage, storageDType } from "./torch-tensor.ts";
import { expandedLimit, openZip, type ZipFile } from "./zip.ts";

/** Reads the directory and the pickle. Throws: CheckpointError with the byte offset at which the file is not what it should be. */
export async function openTorchZip(source: ByteSource): Promise<LazyStateDict> {
  const archive = new Archive(source.size, await openZip(source));
  await archive.requireLittleEndian();
  const cursor = await archive.cursor("data.pkl");
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
  readonly #size: number;
  readonly #files: ReadonlyMap<string, ZipFile>;
  /** The folder that all of it is in. */
  readonly #folder: string;

  constructor(size: number, files: ReadonlyMap<string, ZipFile>) {
    this.#size = size;
    this.#files = files;
    const pickles = [...files.keys()].filter((name) => /^[^/]+\/data\.pkl$/.test(name));
    const isProgram = [...files.keys()].some((name) => name.endsWith("/constants.pkl"));
    if (isProgram) throw this.#fault("a state dict", "a TorchScript program");
    if (pickles.length !== 1) {
      const actual = pickles.length === 0 ? "a zip archive without" : `${pickles.length}`;
      throw this.#fault("a file of torch.save with one data.pkl", actual);
    }
    this.#folder = pickles[0].slice(0, -"data.pkl".length);
  }

  /** Files of before 2.1 do not say; they were little-endian wherever it mattered. */
  async requireLittleEndian(): Promise<void> {
    if (!this.#files.has(`${this.#folder}byteorder`)) return;
    const cursor = await this.cursor("byteorder");
    const order = cursor.text(Math.min(16, cursor.length));
    if (order === "little") return;
    throw cursor.fault("values in little-endian byte order", JSON.stringify(order), 0);
  }

  async cursor(name: string): Promise<Cursor> {
    const file = this.#files.get(this.#folder + name);
    if (file === undefined) throw this.#fault(`"${name}" in the archive`, "none");
    const region = { bytes: await file.read(0, file.size), fileOffset: await file.locate() };
    return new Cursor(file.isDeflated ? { ...region, inflatedName: name } : region);
  }

  storage({ type, key, count }: StorageId, cursor: Cursor): Storage {
    const dtype = storageDType(type) ?? "uint8";
    const file = this.#files.get(`${this.#folder}data/${key}`);
    const byteLength = count * bytesOf[dtype];
    if (file?.size !== byteLength) {
      throw cursor.fault(
        `storage data/${key.slice(0, 40)} of ${byteLength} bytes`,
        file === undefined ? "no such file in the archive" : `${file.size} in the archive`,
      );
    }
    return new Storage({ dtype, bytes: file, byteLimit: expandedLimit(this.#size) });
  }

  #fault(expected: string, actual: string): CheckpointError {
    return new CheckpointError({ op: "checkpoint.read", expected, actual, offset: 0 });
  }
}
