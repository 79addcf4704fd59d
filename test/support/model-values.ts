/** What fills the models of test/fixtures/models.py, which has the same formula. */
import { nn, type Tensor, tensor } from "../../src/index.ts";

/** Numbers in [-1, 1) that float32 holds exactly: 24 mixed bits of the tensor's index and the element's. */
function uniform(key: number, count: number): Float32Array {
  const offset = Math.imul(key + 1, 0x85ebca6b);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    let x = Math.imul(i, 0x9e3779b1) + offset;
    x ^= x >>> 15;
    x = Math.imul(x, 0x2c1b3c6d);
    x ^= x >>> 12;
    x = Math.imul(x, 0x297a2d39);
    x ^= x >>> 15;
    values[i] = (x >>> 8) / 2 ** 23 - 1;
  }
  return values;
}

/** What the state dict's entry at `index` holds; scaled so that activations keep their size through all layers. */
function values(index: number, key: string, shape: readonly number[]): Float32Array {
  const count = shape.reduce((product, size) => product * size, 1);
  const u = uniform(index, count);
  const { shift, scale } = rangeOf(key, shape);
  for (let i = 0; i < count; i++) u[i] = (shift + u[i] * scale.inner) * scale.outer;
  return u;
}

function rangeOf(key: string, shape: readonly number[]) {
  const range = (shift: number, inner: number, outer = 1) => ({ shift, scale: { inner, outer } });
  if (key.endsWith("running_mean") || key.endsWith("bias")) return range(0, 0.25);
  if (key.endsWith("running_var")) return range(1, 0.5);
  const [outputs, ...rest] = shape;
  if (rest.length > 0) return range(0, Math.sqrt(6 / rest.reduce((a, b) => a * b, 1)));
  // Branches of residual blocks end small, or their sums would double from block to block.
  const isLast = outputs > 0 && /layer\d\.\d+\.bn[23]\.weight$/.test(key);
  return range(1, 0.5, isLast ? 0.4 : 1);
}

/** Fills every tensor of the model's state; counters stay. */
export function fill(model: nn.Module): void {
  [...model.stateDict()].forEach(([key, value], index) => {
    if (typeof value === "number") return;
    const { shape } = value;
    // One at a time: all of VGG's in ordinary memory would be half a gigabyte.
    const entry = { dtype: "float32", shape, data: () => values(index, key, shape) } as const;
    model.loadStateDict({ [key]: entry }, { strict: false });
  });
}

/** A batch of images of step 0 or 1. */
export function images(step: number, batch: number, size: number): Tensor {
  const u = uniform(10_000 + step, batch * 3 * size * size);
  return tensor(
    u.map((x) => x * 2),
    { shape: [batch, 3, size, size] },
  );
}

/** Their classes. */
export function labels(step: number, batch: number): Tensor {
  const classes = Array.from({ length: batch }, (_, i) => (step * 7 + i * 13) % 1000);
  return tensor(classes, { dtype: "int32" });
}

/** Norm, and projection on the direction at `index`, as the fixture's tables have them. */
export function measure(x: ArrayLike<number>, index: number): [norm: number, projection: number] {
  const direction = uniform(20_000 + index, x.length);
  let [squares, product, own] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    squares += x[i] * x[i];
    product += direction[i] * x[i];
    own += direction[i] * direction[i];
  }
  return [Math.sqrt(squares), product / Math.sqrt(own)];
}

/** Lets everything through. */
export function withoutDropout(model: nn.Module): void {
  for (const module of model.modules()) if (module instanceof nn.Dropout) module.p = 0;
}

/** What the values of a tensor look like. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly std: number;
  /** The greatest distance from 0. */
  readonly reach: number;
}

/** The distributions of a model's parameters, by key. */
export function distributions(model: nn.Module): Map<string, Distribution> {
  return new Map(model.namedParameters().map(([key, p]) => [key, distribution(p.dataSync())]));
}

function distribution(x: ArrayLike<number>): Distribution {
  const count = x.length;
  let [sum, squares, reach] = [0, 0, 0];
  for (let i = 0; i < count; i++) {
    sum += x[i];
    squares += x[i] * x[i];
    reach = Math.max(reach, Math.abs(x[i]));
  }
  const mean = sum / count;
  return { count, mean, std: Math.sqrt(Math.max(squares / count - mean * mean, 0)), reach };
}
