import { type DType, dtypeOf, hostArray, type TypedArray } from "../core/dtype.ts";
import { ArgumentError, DTypeError, ShapeError } from "../core/errors.ts";
import { defaultGenerator, type Random } from "../core/random.ts";
import { formatShape, type Shape, sizeOf } from "../core/shape.ts";
import { Tensor } from "../tensor/tensor.ts";

/** Values in ordinary memory with a shape: what a dataset gives and a loader makes tensors of. */
export interface HostTensor {
  /** The values, row-major. */
  readonly data: TypedArray;
  /** Sizes of the axes; their product is the number of values. */
  readonly shape: Shape;
  /** Type of the tensor's elements. Default: the type the array naturally has. */
  readonly dtype?: DType;
}

/** One field of an item. A number is a class label and becomes int32; give fractions as a Float32Array or a HostTensor. */
export type Field = number | TypedArray | HostTensor | Tensor;

/**
 * What a `DataLoader` reads: items by index, each a tuple of fields (usually image and label).
 * `at` is all that is needed; `gather` may stand beside it where a whole batch can be copied at once.
 */
export interface Dataset<Item extends readonly Field[]> {
  /** Number of items. */
  readonly length: number;
  /** Item `index`, 0 to length - 1. A loader hands in what to draw from: the item's own numbers in this pass. */
  at(index: number, random?: Random): Item | Promise<Item>;
  /** The items at these indices, each field stacked along a new first axis. */
  gather?(indices: Uint32Array): readonly HostTensor[] | Promise<readonly HostTensor[]>;
}

/** What a `TensorDataset` takes: axis 0 counts the items; a bare typed array is one number per item. */
export type Source = TypedArray | HostTensor | Tensor;

/**
 * Items cut from arrays along their first axis, as `torch.utils.data.TensorDataset`.
 * A tensor is read once, when the first item is asked for, and must live until then.
 *
 * Throws: ArgumentError without a source; ShapeError if first axes differ or a shape does not fit its values.
 * @example
 * new TensorDataset({ data: pixels, shape: [100, 1, 28, 28] }, labels)
 */
export class TensorDataset<Sources extends readonly Source[]>
  implements Dataset<{ [Index in keyof Sources]: HostTensor }>
{
  /** Number of items. */
  readonly length: number;
  readonly #sources: Sources;
  #loaded: Promise<readonly LoadedSource[]> | null = null;

  constructor(...sources: Sources) {
    const [first] = sources;
    if (first === undefined) {
      throw new ArgumentError({
        op: "TensorDataset",
        expected: "at least one array or tensor",
        actual: "none",
      });
    }
    for (const source of sources) checkSource(source, shapeOf(first)[0]);
    this.length = shapeOf(first)[0];
    this.#sources = sources;
  }

  async at(index: number): Promise<{ [Index in keyof Sources]: HostTensor }> {
    const batch = await this.gather(Uint32Array.of(index));
    const item = batch.map((field) => ({ ...field, shape: field.shape.slice(1) }));
    return item as { [Index in keyof Sources]: HostTensor };
  }

  async gather(indices: Uint32Array): Promise<readonly HostTensor[]> {
    this.#loaded ??= Promise.all(this.#sources.map(load));
    return (await this.#loaded).map((source) => gatherRows(source, indices));
  }
}

/**
 * Some items of another dataset, in the order of `indices`, as `torch.utils.data.Subset`.
 * Throws: ArgumentError for an index outside the dataset.
 */
export class Subset<Item extends readonly Field[]> implements Dataset<Item> {
  /** Number of items. */
  readonly length: number;
  readonly gather?: NonNullable<Dataset<Item>["gather"]>;
  readonly #dataset: Dataset<Item>;
  readonly #indices: Uint32Array;

  constructor(dataset: Dataset<Item>, indices: ArrayLike<number>) {
    const chosen = Array.from(indices);
    const wrong = chosen.find((i) => !Number.isInteger(i) || i < 0 || i >= dataset.length);
    if (wrong !== undefined) {
      throw new ArgumentError({
        op: "Subset",
        expected: `indices from 0 to ${dataset.length - 1}`,
        actual: `${wrong}`,
      });
    }
    this.length = chosen.length;
    this.#dataset = dataset;
    this.#indices = Uint32Array.from(chosen);
    const inner = dataset.gather?.bind(dataset);
    if (inner) this.gather = (places) => inner(places.map((place) => this.#indices[place]));
  }

  at(index: number, random?: Random): Item | Promise<Item> {
    return this.#dataset.at(this.#indices[index], random);
  }
}

/**
 * Another dataset's items, each passed through `fn` when it is asked for: augmentation, normalisation, another choice of fields.
 *
 * `random` gives the item's own numbers: in a `DataLoader` they follow from its seed (or `manualSeed`), the pass and the index, so they
 * are the same in every run, whatever is decoded before or beside the item and wherever a run was resumed. Nested maps draw from
 * the same numbers one after the other. Items asked for without a loader draw from `manualSeed`'s.
 *
 * @example
 * const augment = data.transforms.compose([data.transforms.randomCrop(32, { padding: 4 }), data.transforms.randomHorizontalFlip()]);
 * const augmented = data.map(train, ([image, label], random) => [augment(image, random), label]);
 */
export function map<Item extends readonly Field[], Mapped extends readonly Field[] | []>(
  dataset: Dataset<Item>,
  fn: (item: Item, random: Random) => Mapped | Promise<Mapped>,
): Dataset<Mapped> {
  return {
    length: dataset.length,
    at: async (index, random = defaultGenerator) => fn(await dataset.at(index, random), random),
  };
}

/**
 * Stacks single items into a batch, field by field: what a loader does by itself, for a `collate` that does something else before or
 * after it.
 *
 * Throws: ShapeError if the items' shapes or types differ; DTypeError if a field that is a plain number is a fraction.
 */
export async function defaultCollate<Item extends readonly Field[]>(
  items: readonly Item[],
): Promise<{ [Index in keyof Item]: HostTensor }> {
  const [first] = items;
  const fields = await Promise.all(
    first.map((_, field) => stackField(items.map((item) => item[field]))),
  );
  return fields as { [Index in keyof Item]: HostTensor };
}

async function stackField(fields: readonly Field[]): Promise<HostTensor> {
  if (fields.every((field) => typeof field === "number")) return labels(fields);
  const rows = await Promise.all(fields.map(hostTensor));
  const [{ data: firstData, shape, dtype = dtypeOf(firstData) }] = rows;
  const size = sizeOf(shape);
  const data = hostArray(dtype, rows.length * size);
  rows.forEach((row, place) => {
    if (
      formatShape(row.shape) !== formatShape(shape) ||
      (row.dtype ?? dtypeOf(row.data)) !== dtype
    ) {
      throw new ShapeError({
        op: "DataLoader",
        expected: `items all like the first of their batch, ${formatShape(shape)} ${dtype}`,
        actual: `${formatShape(row.shape)} ${row.dtype ?? dtypeOf(row.data)}`,
        hint: "crop, resize or pad in the dataset's at()",
      });
    }
    data.set(row.data, place * size);
  });
  return { data, shape: [rows.length, ...shape], dtype };
}

function labels(values: readonly number[]): HostTensor {
  const fraction = values.find((value) => (value | 0) !== value);
  if (fraction !== undefined) {
    throw new DTypeError({
      op: "DataLoader",
      expected: "whole numbers of at most 31 bits where an item's field is a plain number",
      actual: `${fraction}`,
      hint: "give a fraction as Float32Array.of(value) from the dataset's at()",
    });
  }
  return { data: Int32Array.from(values), shape: [values.length], dtype: "int32" };
}

async function hostTensor(field: Field): Promise<HostTensor> {
  if (typeof field === "number") return { data: Int32Array.of(field), shape: [] };
  if (field instanceof Tensor)
    return { data: await field.data(), shape: field.shape, dtype: field.dtype };
  return ArrayBuffer.isView(field) ? { data: field, shape: [field.length] } : field;
}

interface LoadedSource {
  readonly data: TypedArray;
  readonly dtype: DType;
  /** Shape of one item and how many values that is. */
  readonly rowShape: Shape;
  readonly rowLength: number;
}

async function load(source: Source): Promise<LoadedSource> {
  const { data, shape, dtype = dtypeOf(data) } = await hostTensor(source);
  const rowShape = shape.slice(1);
  return { data, dtype, rowShape, rowLength: sizeOf(rowShape) };
}

function gatherRows(source: LoadedSource, indices: Uint32Array): HostTensor {
  const { data, dtype, rowShape, rowLength } = source;
  const rows = hostArray(dtype, indices.length * rowLength);
  indices.forEach((index, place) => {
    rows.set(data.subarray(index * rowLength, (index + 1) * rowLength), place * rowLength);
  });
  return { data: rows, shape: [indices.length, ...rowShape], dtype };
}

function shapeOf(source: Source): Shape {
  return ArrayBuffer.isView(source) ? [source.length] : source.shape;
}

function checkSource(source: Source, items: number): void {
  const shape = shapeOf(source);
  const size = sizeOf(shape);
  if (!(source instanceof Tensor) && !ArrayBuffer.isView(source) && source.data.length !== size) {
    throw new ShapeError({
      op: "TensorDataset",
      expected: `${size} values for shape ${formatShape(shape)}`,
      actual: `${source.data.length}`,
    });
  }
  if (shape.length === 0 || shape[0] !== items) {
    throw new ShapeError({
      op: "TensorDataset",
      expected: `${items} items along axis 0 of every source`,
      actual: formatShape(shape),
    });
  }
}
