/** State dicts and training checkpoints as torch.save writes them. */
import { bytesOf, type Entry, type EntryDType, scalarEntry } from "../core/entry.ts";
import { ArgumentError } from "../core/errors.ts";
import { sizeOf } from "../core/shape.ts";
import { Tensor } from "../tensor/tensor.ts";
import { longestInt, PickleWriter } from "./pickle-writer.ts";
import type { ZipPart } from "./zip-write.ts";

/** A value that has a storage of its own in the file. */
export type Leaf = Tensor | Entry;

/** PyTorch's names of storages; the types without one are read from bytes by their own name. */
const storageNames: Readonly<Partial<Record<EntryDType, string>>> = {
  float64: "DoubleStorage",
  float32: "FloatStorage",
  float16: "HalfStorage",
  bfloat16: "BFloat16Storage",
  int64: "LongStorage",
  int32: "IntStorage",
  int16: "ShortStorage",
  int8: "CharStorage",
  uint8: "ByteStorage",
  bool: "BoolStorage",
};

/** As deep as `checkpoint.read` follows. */
const deepest = 100;

/** A pickle and the values it speaks of, in the order of their names in the archive. */
export interface TorchPickle {
  readonly pickle: Uint8Array<ArrayBuffer>;
  readonly leaves: readonly Leaf[];
}

/** Throws ArgumentError, naming the path inside, for what PyTorch could not read as plain data. */
export function pickleTorch(value: unknown): TorchPickle {
  const walk = new Walk();
  walk.value(value, []);
  return { pickle: walk.out.finish(), leaves: [...walk.leaves.keys()] };
}

/** Members of the archive; `entries` are the leaves' values. */
export function torchParts(
  pickle: Uint8Array<ArrayBuffer>,
  entries: readonly Entry[],
): readonly ZipPart[] {
  const fixed = (name: string, bytes: Uint8Array<ArrayBuffer>): ZipPart => ({
    name: `archive/${name}`,
    byteLength: bytes.length,
    pieces: () => [bytes],
  });
  const text = (value: string) => new TextEncoder().encode(value);
  return [
    fixed("data.pkl", pickle),
    fixed("byteorder", text("little")),
    ...entries.map((entry, i) => ({
      name: `archive/data/${i}`,
      byteLength: sizeOf(entry.shape) * bytesOf[entry.dtype],
      pieces: () => piecesOf(entry),
    })),
    fixed("version", text("3\n")),
  ];
}

/** In pieces, so that a signal is looked at in between. */
function* piecesOf(entry: Entry): Generator<Uint8Array<ArrayBuffer>> {
  const { buffer, byteOffset, byteLength } = entry.data();
  const pieceBytes = 1 << 22;
  for (let at = 0; at < byteLength; at += pieceBytes) {
    const length = Math.min(pieceBytes, byteLength - at);
    // A shared buffer is copied: streams take none.
    yield buffer instanceof ArrayBuffer
      ? new Uint8Array(buffer, byteOffset + at, length)
      : new Uint8Array(new Uint8Array(buffer, byteOffset + at, length));
  }
}

type Path = readonly (string | number)[];

class Walk {
  readonly out = new PickleWriter();
  /** Places in the archive; what is the same object shares one. */
  readonly leaves = new Map<Leaf, number>();
  readonly #open = new Set<object>();

  value(value: unknown, path: Path): void {
    if (value === null) this.out.none();
    else if (typeof value === "string") this.#text(value, path);
    else if (typeof value === "boolean") this.out.boolean(value);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "bigint") this.#bigint(value, path);
    else if (typeof value !== "object") throw refusal(path, describe(value));
    else if (isLeaf(value)) this.#leaf(value);
    else this.#container(value, path);
  }

  #text(value: string, path: Path): void {
    // Half of a pair has no UTF-8, and would come back as another character.
    if (/\p{Surrogate}/u.test(value)) throw refusal(path, "text with half a surrogate pair");
    this.out.text(value);
  }

  #number(value: number): void {
    if (Number.isSafeInteger(value) && !Object.is(value, -0)) this.out.int(value);
    else this.out.float(value);
  }

  #bigint(value: bigint, path: Path): void {
    if (BigInt.asIntN(longestInt, value) !== value) {
      throw refusal(path, `a bigint of more than ${longestInt} bits`);
    }
    this.out.int(value);
  }

  #container(value: object, path: Path): void {
    if (this.#open.has(value)) throw refusal(path, "a value that contains itself");
    if (path.length >= deepest) throw refusal(path, `more than ${deepest} levels of nesting`);
    this.#open.add(value);
    if (value instanceof Map) this.#stateDict(value, path);
    else if (Array.isArray(value)) {
      // Holes are found too: they are undefined.
      this.out.list(() => {
        for (const [i, item] of value.entries()) this.value(item, [...path, i]);
      });
    } else if (isPlainObject(value)) this.#object(value, path);
    else throw refusal(path, describe(value));
    this.#open.delete(value);
  }

  #object(value: object, path: Path): void {
    const isOptimizer = "param_groups" in value;
    this.out.dict(() => {
      for (const [key, member] of Object.entries(value)) {
        const inner = [...path, key];
        this.#text(key, inner);
        if (isOptimizer && key === "state" && isPlainObject(member)) {
          this.#byIndex(member, inner);
        } else this.value(member, inner);
      }
    });
  }

  /** Python's optimizers find the state of a parameter by its number, and text would not be that. */
  #byIndex(state: object, path: Path): void {
    this.out.dict(() => {
      for (const [key, member] of Object.entries(state)) {
        const inner = [...path, key];
        if (/^(0|[1-9]\d{0,8})$/.test(key)) this.out.int(Number(key));
        else this.#text(key, inner);
        this.value(member, inner);
      }
    });
  }

  #stateDict(dict: ReadonlyMap<unknown, unknown>, path: Path): void {
    this.#ordered();
    this.out.items(() => {
      for (const [key, value] of dict) {
        const inner = [...path, String(key)];
        if (typeof key !== "string") throw refusal(inner, `a Map with ${describe(key)} as key`);
        this.#text(key, inner);
        if (typeof value === "number") this.#leaf(scalarEntry(inner.join("."), value));
        else if (isLeaf(value)) this.#leaf(value);
        else throw refusal(inner, `${describe(value)} in a Map, which is a state dict`);
      }
    });
    const metadata = "metadata" in dict ? dict.metadata : null;
    if (metadata instanceof Map) this.#metadata(metadata);
  }

  #metadata(metadata: ReadonlyMap<string, { readonly version: number }>): void {
    this.out.build(() => {
      this.out.text("_metadata");
      this.#ordered();
      this.out.items(() => {
        for (const [path, { version }] of metadata) {
          this.#text(path, [path]);
          this.out.dict(() => {
            this.out.text("version");
            this.#number(version);
          });
        }
      });
    });
  }

  /** An empty OrderedDict. */
  #ordered(): void {
    this.out.global("collections", "OrderedDict");
    this.out.call(() => {});
  }

  #sizes(sizes: readonly number[]): void {
    this.out.tuple(() => {
      for (const size of sizes) this.out.int(size);
    });
  }

  /** `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks)`; v3 adds the type. */
  #leaf(leaf: Leaf): void {
    const place = this.leaves.get(leaf) ?? this.leaves.size;
    this.leaves.set(leaf, place);
    const { dtype, shape } = leaf;
    const storage = storageNames[dtype];
    const { out } = this;
    out.global("torch._utils", storage ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
    out.call(() => {
      out.persistent(() => {
        out.text("storage");
        if (storage) out.global("torch", storage);
        else out.global("torch.storage", "UntypedStorage");
        out.text(String(place));
        out.text("cpu");
        out.int(sizeOf(shape) * (storage ? 1 : bytesOf[dtype]));
      });
      out.int(0);
      this.#sizes(shape);
      this.#sizes(contiguousStrides(shape));
      out.boolean(false);
      this.#ordered();
      if (!storage) out.global("torch", dtype);
    });
  }
}

/** As PyTorch has them: an axis of size 0 counts as one of 1. */
function contiguousStrides(shape: readonly number[]): number[] {
  let stride = 1;
  const strides = shape.map(() => 0);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= Math.max(shape[axis], 1);
  }
  return strides;
}

function isLeaf(value: unknown): value is Leaf {
  if (value instanceof Tensor) return true;
  if (typeof value !== "object" || value === null) return false;
  return "dtype" in value && "shape" in value && "data" in value && isEntry(value);
}

function isEntry({ dtype, shape, data }: Record<"dtype" | "shape" | "data", unknown>): boolean {
  if (typeof dtype !== "string" || typeof data !== "function") return false;
  return Array.isArray(shape) && Object.hasOwn(bytesOf, dtype);
}

function isPlainObject(value: unknown): value is { readonly [key: string]: unknown } {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function describe(value: unknown): string {
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  if (isPlainObject(value)) return "an object";
  return `an instance of ${value.constructor?.name ?? "a class"}`;
}

function refusal(path: Path, actual: string): ArgumentError {
  const place = path.length === 0 ? "the value itself" : `"${path.slice(0, 8).join(".")}"`;
  return new ArgumentError({
    op: "checkpoint.write",
    expected: `tensors, entries and plain data for ${place}`,
    actual,
  });
}
