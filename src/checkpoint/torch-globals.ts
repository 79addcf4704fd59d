/** The names that may stand in a PyTorch file, and what is built for them. Everything else is refused by its name. */
import type { Cursor } from "./cursor.ts";
import type { PickleHost } from "./pickle.ts";
import { describeValue, PickleDict, PickleGlobal, type PickleValue } from "./pickle-values.ts";
import {
  isCount,
  isTypeName,
  rebuildTensor,
  type Storage,
  storageDType,
  TorchTensor,
} from "./torch-tensor.ts";

type Builder = (args: readonly PickleValue[], cursor: Cursor) => PickleValue;

/** What a persistent id says of a storage: ("storage", type, key, device, count of elements, view of another or None). */
export interface StorageId {
  readonly type: string;
  readonly key: string;
  /** Elements, or bytes for the type without any. */
  readonly count: number;
  /** Only in files from before 1.6: (key, offset, count) of a part of this storage. */
  readonly view: PickleValue;
}

const builders: ReadonlyMap<string, Builder> = new Map<string, Builder>([
  ["collections.OrderedDict", ([pairs = null], cursor) => dictOf(pairs, cursor)],
  ["collections.Counter", ([pairs = null], cursor) => dictOf(pairs, cursor)],
  // Its argument makes missing values, of which a file has none.
  ["collections.defaultdict", () => new PickleDict()],
  ["__builtin__.set", ([items = []], cursor) => listOf(items, cursor)],
  ["builtins.set", ([items = []], cursor) => listOf(items, cursor)],
  ["__builtin__.frozenset", ([items = []], cursor) => listOf(items, cursor)],
  ["builtins.frozenset", ([items = []], cursor) => listOf(items, cursor)],
  ["_codecs.encode", encoded],
  ["torch.Size", ([sizes = []], cursor) => listOf(sizes, cursor)],
  ["torch.device", deviceName],
  ["torch._utils._rebuild_tensor", (args, cursor) => rebuildTensor(args, cursor)],
  ["torch._utils._rebuild_tensor_v2", (args, cursor) => rebuildTensor(args, cursor)],
  ["torch._utils._rebuild_tensor_v3", (args, cursor) => rebuildTensor(args, cursor, args[6])],
  ["torch._utils._rebuild_parameter", parameter],
  ["torch._utils._rebuild_parameter_with_state", parameter],
  ["torch._tensor._rebuild_from_type_v2", typedTensor],
]);

/** Names that are handed to builders and mean nothing by themselves. */
const inertNames = new Set([
  "torch.Tensor",
  "torch.nn.parameter.Parameter",
  "__builtin__.dict",
  "builtins.dict",
  "__builtin__.list",
  "builtins.list",
  "__builtin__.int",
  "builtins.int",
  "__builtin__.float",
  "builtins.float",
]);

/** A host that knows these names; `storage` finds what a persistent id means. */
export function torchHost(storage: (id: StorageId, cursor: Cursor) => Storage): PickleHost {
  return {
    call,
    persistent: (id, cursor) => storage(storageId(id, cursor), cursor),
  };
}

/** A host for pickles that need neither calls nor storages. */
export const plainHost: PickleHost = {
  call: (global, args, cursor) => refuse(global, cursor, args),
  persistent(id, cursor) {
    throw cursor.fault("no storage in this part of the file", describeValue(id));
  },
};

/** The name as plain data: "torch.float32". Throws for a name that is not allowed. */
export function nameOf(global: PickleGlobal, cursor: Cursor): string {
  if (isTypeName(global.name) || inertNames.has(global.name)) return global.name;
  if (builders.has(global.name)) return global.name;
  return refuse(global, cursor);
}

function call(global: PickleGlobal, args: readonly PickleValue[], cursor: Cursor): PickleValue {
  const build = builders.get(global.name);
  return build === undefined ? refuse(global, cursor, args) : build(args, cursor);
}

function refuse(
  global: PickleGlobal,
  cursor: Cursor,
  args: readonly PickleValue[] | null = null,
): never {
  const shown = describeValue(global);
  const called = args === null ? "" : `, which Python would call: ${shown}(${argumentsOf(args)})`;
  throw cursor.fault(
    "only tensors and plain data (a model's state_dict(), not the model; no code is ever run)",
    `${shown}${called}`,
    global.at,
  );
}

function argumentsOf(args: readonly PickleValue[]): string {
  return describeValue([...args]).slice(1, -1);
}

function storageId(id: PickleValue, cursor: Cursor): StorageId {
  const [tag, type, key, , count, view = null] = Array.isArray(id) ? id : [];
  const isStorage = tag === "storage" && type instanceof PickleGlobal && typeof key === "string";
  if (!isStorage || !isCount(count)) {
    throw cursor.fault('a persistent id ("storage", type, key, device, count)', describeValue(id));
  }
  if (storageDType(type.name) === null) refuse(type, cursor);
  return { type: type.name, key, count, view };
}

/** What was built once: copies of what the memo repeats would let a small file fill the memory. */
const dictByPairs = new WeakMap<readonly PickleValue[], PickleDict>();
const bytesByText = new WeakMap<Cursor, Map<string, Uint8Array>>();

function dictOf(pairs: PickleValue, cursor: Cursor): PickleDict {
  if (pairs === null) return new PickleDict();
  if (pairs instanceof PickleDict) return pairs;
  const list = listOf(pairs, cursor);
  const known = dictByPairs.get(list);
  if (known !== undefined) return known;
  const dict = new PickleDict();
  for (const pair of list) {
    if (!Array.isArray(pair) || pair.length !== 2) {
      throw cursor.fault("pairs of keys and values", describeValue(pair));
    }
    dict.set(pair[0], pair[1], cursor);
  }
  dictByPairs.set(list, dict);
  return dict;
}

function listOf(value: PickleValue, cursor: Cursor): PickleValue[] {
  if (Array.isArray(value)) return value;
  throw cursor.fault("a list", describeValue(value));
}

/** `encode(text, "latin1")` is how protocol 2 writes bytes. */
function encoded([text, encoding]: readonly PickleValue[], cursor: Cursor): Uint8Array {
  if (typeof text !== "string" || encoding !== "latin1") {
    throw cursor.fault("text to encode as latin1", describeValue([text ?? null, encoding ?? null]));
  }
  const known = bytesByText.get(cursor) ?? new Map<string, Uint8Array>();
  bytesByText.set(cursor, known);
  const bytes = known.get(text) ?? Uint8Array.from(text, (character) => character.charCodeAt(0));
  known.set(text, bytes);
  return bytes;
}

function deviceName([type, index = null]: readonly PickleValue[], cursor: Cursor): string {
  if (typeof type !== "string") throw cursor.fault("a device's name", describeValue(type ?? null));
  return isCount(index ?? undefined) ? `${type}:${index}` : type;
}

/** A parameter is its tensor. */
function parameter([data = null]: readonly PickleValue[], cursor: Cursor): TorchTensor {
  if (data instanceof TorchTensor) return data;
  throw cursor.fault("a parameter's tensor", describeValue(data));
}

/** `_rebuild_from_type_v2(function, type, args, state)`: a tensor with attributes, which are left out. */
function typedTensor(args: readonly PickleValue[], cursor: Cursor): PickleValue {
  const [rebuild = null, type = null, inner = null] = args;
  if (type instanceof PickleGlobal) nameOf(type, cursor);
  if (!(rebuild instanceof PickleGlobal) || !Array.isArray(inner)) {
    throw cursor.fault("how a tensor is made, its type and arguments", describeValue([...args]));
  }
  // One level only: tensors are made by the functions for tensors.
  if (rebuild.name === "torch._tensor._rebuild_from_type_v2") refuse(rebuild, cursor, inner);
  return call(rebuild, inner, cursor);
}
