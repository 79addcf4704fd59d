/// <reference lib="esnext.disposable" preserve="true" />
/**
 * A tensor: a shape over device memory, with its gradient and its place in the graph. It has no maths: the functions in
 * `ops/` are the truth, and `ops/methods.ts` hangs them on the prototype.
 */
import type { Backend, Device, Operand } from "../backend/backend.ts";
import { bytesPerElement, type DType, isFloating, type TypedArray } from "../core/dtype.ts";
import { AutogradError, DTypeError, LifetimeError, OutOfMemoryError } from "../core/errors.ts";
import { formatShape, type Shape, sizeOf } from "../core/shape.ts";
import type { GraphNode } from "./autograd.ts";
import { catchInNet, Holding, hopIfNeeded, own } from "./lifetime.ts";
import { Storage } from "./storage.ts";

export interface TensorParts {
  readonly storage: Storage;
  /** First element inside the storage; views start later. */
  readonly offset: number;
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Who ends a handle: the innermost scope (or the collector at top level), or only the collector. */
export type Owner = "scope" | "nobody";

/**
 * Numbers of one dtype on one device, row-major, with their gradient and history. Its operations are methods, named as in PyTorch, and
 * leave it unchanged; they speak of it as x, or as a where there is a second tensor b. It lives until the scope or module call that made it ends, until `dispose()`, or until the program drops it.
 */
export class Tensor {
  /** Sizes of the axes; axis 1 holds the channels (N, C, ...). */
  readonly shape: Shape;
  /** The accumulated gradient of a leaf, or null before the first backward. Shape and dtype of the tensor. */
  grad: Tensor | null = null;
  /** @internal What this handle keeps alive; replaced only by `Tensor.adopt`. */
  holding: Holding;
  /** @internal */
  offset: number;
  /** @internal The operation that this tensor is the result of. */
  node: GraphNode | null = null;
  #dtype: DType;
  #requiresGrad = false;

  /** @internal Takes over one reference to `parts.storage`. */
  constructor(parts: TensorParts, owner: Owner = "scope") {
    this.shape = parts.shape;
    this.offset = parts.offset;
    this.#dtype = parts.dtype;
    this.holding = new Holding(parts.storage);
    if (owner === "scope") own(this);
    else this.keep();
  }

  /** Type of every element. */
  get dtype(): DType {
    return this.#dtype;
  }

  /** Where the elements are. */
  get device(): Device {
    return this.holding.storage.backend.device;
  }

  /** Number of elements. */
  get size(): number {
    return sizeOf(this.shape);
  }

  /** True when backward will reach this tensor: a leaf that asked for it, or a result of one. */
  get requiresGrad(): boolean {
    return this.#requiresGrad || this.node !== null;
  }

  /** Throws DTypeError for integers, AutogradError when set to false on a result. */
  set requiresGrad(flag: boolean) {
    if (typeof flag !== "boolean")
      throw new TypeError(`requiresGrad: expected true or false, got ${flag}`);
    if (flag && !isFloating(this.dtype)) {
      throw new DTypeError({
        op: "requiresGrad",
        expected: "a floating tensor",
        actual: this.dtype,
        hint: 'convert it with to("float32")',
      });
    }
    if (!flag && this.node !== null) {
      throw new AutogradError({
        op: "requiresGrad",
        expected: "a leaf tensor",
        actual: `the result of ${this.node.op}`,
        hint: "use detach() for a tensor without history",
      });
    }
    this.#requiresGrad = flag;
  }

  /**
   * The values at the time of the call as an ordinary, unshared typed array; `bool` as bytes 0 and 1, `float16` as the same numbers in a
   * Float32Array.
   */
  async data(): Promise<TypedArray> {
    // Read first: a step taken while this waits must not change what was asked for.
    const values = await this.holding.storage.backend.read(operandOf(this));
    await hopIfNeeded();
    return values;
  }

  /** As `data()`, at once. Throws DeviceError on a device that only reads asynchronously. */
  dataSync(): TypedArray {
    return this.holding.storage.backend.readSync(operandOf(this));
  }

  /**
   * Takes this handle out of every scope: it lives until `dispose()` or until the program drops it.
   * Needed where a scope cannot see who holds it: `#private` fields, closures, file-level variables.
   */
  keep(): this {
    operandOf(this);
    if (this.holding.isKept) return this;
    this.holding.isKept = true;
    catchInNet(this);
    return this;
  }

  /** Ends this handle now. Views and saved graphs of it stay valid. Calling it twice does nothing. */
  dispose(): void {
    this.holding.end("dispose()");
  }

  /** As `dispose()`, at the end of a block with `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** @internal Moves this tensor onto other memory, keeping its identity (module.to, optimizers, lazy layers). */
  adopt(storage: Storage, dtype: DType, shape: Shape = this.shape): void {
    this.holding.replaceStorage(storage);
    this.offset = 0;
    this.#dtype = dtype;
    // To everybody else a shape is fixed.
    Object.assign(this, { shape });
  }
}

/** The tensor's memory as kernels take it. Throws LifetimeError when the handle has ended. */
export function operandOf(t: Tensor): Operand {
  const { storage, endedBy } = t.holding;
  if (endedBy !== null) {
    throw new LifetimeError({
      op: "tensor",
      expected: "a live tensor",
      actual: `one of shape ${formatShape(t.shape)} whose memory was given back by ${endedBy}`,
      hint:
        "a module call ends what its forward made, except its outputs and what modules hold in own properties; " +
        "call keep() on a tensor that must outlive it",
    });
  }
  return { handle: storage.handle, offset: t.offset, length: sizeOf(t.shape), dtype: t.dtype };
}

/** Throws DTypeError unless tensors of `dtype` can live on the device. */
export function checkSupported(op: string, backend: Backend, dtype: DType): void {
  if (backend.dtypes.includes(dtype)) return;
  throw new DTypeError({
    op,
    expected: `one of ${backend.dtypes.join(", ")} on the ${backend.device} device`,
    actual: JSON.stringify(dtype),
    ...(dtype === "float64" ? { hint: 'float64 lives on device: "reference"' } : {}),
  });
}

/** An uninitialised tensor for a kernel to write. */
export function allocate(
  backend: Backend,
  shape: Shape,
  dtype: DType,
  owner: Owner = "scope",
): Tensor {
  const storage = storageFor(backend, shape, dtype);
  return new Tensor({ storage, offset: 0, shape, dtype }, owner);
}

function storageFor(backend: Backend, shape: Shape, dtype: DType): Storage {
  const bytes = sizeOf(shape) * bytesPerElement(dtype);
  try {
    return new Storage(backend, bytes);
  } catch (error) {
    if (!(error instanceof OutOfMemoryError)) throw error;
    // The device knows bytes; what they were for is known here.
    throw new OutOfMemoryError({
      op: "tensor",
      expected: `room for ${dtype} of shape ${formatShape(shape)}, ${bytes} bytes`,
      actual: error.actual,
      ...{ bytes, cause: error, hint: error.hint ?? "dispose of tensors that are not needed" },
    });
  }
}

/** Another handle on the same memory; `offset` counts elements from the start of `base`. */
export function viewOf(base: Tensor, shape: Shape, offset = 0): Tensor {
  operandOf(base);
  const { storage } = base.holding;
  return new Tensor({
    storage: storage.retain(),
    offset: base.offset + offset,
    shape,
    dtype: base.dtype,
  });
}

export function backendFor(t: Tensor): Backend {
  return t.holding.storage.backend;
}
