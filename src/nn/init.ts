/**
 * `nn.init`: starting values, written into a tensor in place. Each function returns its tensor and draws from the generator that
 * `manualSeed` seeds; autograd records nothing of it. What layers do by themselves is in fan-in.ts.
 */
import { ArgumentError } from "../core/errors.ts";
import { defaultGenerator } from "../core/random.ts";
import { sizeOf } from "../core/shape.ts";
import { checkFloating, checkTensor } from "../ops/check.ts";
import { backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";
import { orthonormal, truncatedNormal } from "./init-draws.ts";
import { checkRanks, overwrite, writeNormal, writeUniform } from "./overwrite.ts";

/** What follows the layer, for `calculateGain`; the names of linear layers have gain 1. */
export type Nonlinearity =
  | "linear"
  | "conv1d"
  | "conv2d"
  | "conv3d"
  | "convTranspose1d"
  | "convTranspose2d"
  | "convTranspose3d"
  | "sigmoid"
  | "tanh"
  | "relu"
  | "leakyRelu"
  | "selu";

/** What follows the layer, and which variance is kept. */
export interface KaimingOptions {
  /** Negative slope of the "leakyRelu" that follows. Default 0. */
  readonly a?: number;
  /** "fanIn" keeps the variance in the forward pass, "fanOut" in the backward pass. Default "fanIn". */
  readonly mode?: "fanIn" | "fanOut";
  /** What follows; its `calculateGain` scales the weights. Default "leakyRelu". */
  readonly nonlinearity?: Nonlinearity;
}

/** The normal distribution, and where it is cut off. */
export interface TruncNormalOptions {
  /** Of the distribution before it is cut off. Default 0. */
  readonly mean?: number;
  /** Of the distribution before it is cut off; above 0. Default 1. */
  readonly std?: number;
  /** Least value, not in units of std. Default -2. */
  readonly a?: number;
  /** Greatest value, not in units of std. Default 2. */
  readonly b?: number;
}

/** How many elements a layer connects. */
export interface Fans {
  /** Inputs that each output sums over. */
  readonly fanIn: number;
  /** Outputs that each input adds to. */
  readonly fanOut: number;
}

/** Uniform draws from [a, b). Throws DTypeError unless floating, ArgumentError unless a <= b. */
export function uniform<T extends Tensor>(tensor: T, a = 0, b = 1): T {
  return writeUniform("nn.init.uniform", tensor, { a, b });
}

/** Normal draws. Throws DTypeError unless floating, ArgumentError unless std >= 0. */
export function normal<T extends Tensor>(tensor: T, mean = 0, std = 1): T {
  return writeNormal("nn.init.normal", tensor, { mean, std });
}

/**
 * Normal, with values outside [a, b] drawn anew.
 *
 * Throws: DTypeError unless floating; ArgumentError unless a <= b and std > 0.
 * Unlike PyTorch: quick also where [a, b] is wide and far from the mean.
 */
export function truncNormal<T extends Tensor>(tensor: T, options: TruncNormalOptions = {}): T {
  const op = "nn.init.truncNormal";
  const { mean = 0, std = 1, a = -2, b = 2 } = options;
  checkFloating(op, tensor);
  if (!(a <= b && std > 0)) {
    throw new ArgumentError({
      op,
      expected: "a <= b and std > 0",
      actual: `a ${a}, b ${b}, std ${std}`,
    });
  }
  const draw = truncatedNormal(defaultGenerator, (a - mean) / std, (b - mean) / std);
  return overwrite(op, tensor, () => Math.min(Math.max(mean + std * draw(), a), b));
}

/** `value` everywhere. */
export function constant<T extends Tensor>(tensor: T, value: number): T {
  checkTensor("nn.init.constant", tensor);
  backendFor(tensor).fill(operandOf(tensor), value);
  tensor.holding.storage.markWritten("nn.init.constant");
  return tensor;
}

/** 1 everywhere. */
export function ones<T extends Tensor>(tensor: T): T {
  return constant(tensor, 1);
}

/** 0 everywhere. */
export function zeros<T extends Tensor>(tensor: T): T {
  return constant(tensor, 0);
}

/** The identity matrix, cut or filled up with zeros. Throws ShapeError unless there are two axes. */
export function eye<T extends Tensor>(tensor: T): T {
  checkRanks("nn.init.eye", tensor, [2, 2]);
  const columns = tensor.shape[1];
  const isDiagonal = (i: number) => Math.floor(i / columns) === i % columns;
  return overwrite("nn.init.eye", tensor, (i) => Number(isDiagonal(i)));
}

/**
 * The convolution that hands as many channels on as there are, group by group: 1 in the middle of the kernel, else 0.
 *
 * Shapes: tensor (outputs, inputs / groups, ...kernel) with one to three kernel axes.
 * Throws: ShapeError for another rank; ArgumentError unless groups divides the outputs.
 */
export function dirac<T extends Tensor>(tensor: T, groups = 1): T {
  const op = "nn.init.dirac";
  checkRanks(op, tensor, [3, 5]);
  const [outputs, inputs, ...kernel] = tensor.shape;
  if (!(Number.isInteger(groups) && groups >= 1 && outputs % groups === 0)) {
    throw new ArgumentError({
      op,
      expected: `groups to divide the ${outputs} outputs`,
      actual: String(groups),
    });
  }
  const area = sizeOf(kernel);
  const middle = kernel.reduce((at, size) => at * size + Math.floor(size / 2), 0);
  return overwrite(op, tensor, (i) => {
    const plane = Math.floor(i / area);
    const output = Math.floor(plane / inputs) % (outputs / groups);
    return Number(output === plane % inputs && i % area === middle);
  });
}

/**
 * Uniform in [-x, x) with x = gain * sqrt(6 / (fanIn + fanOut)).
 *
 * Throws: ShapeError below two axes; ArgumentError for a negative gain; DTypeError unless floating.
 * Source: Glorot and Bengio 2010.
 */
export function xavierUniform<T extends Tensor>(tensor: T, gain = 1): T {
  const bound = Math.sqrt(3) * xavierStd("nn.init.xavierUniform", tensor, gain);
  return writeUniform("nn.init.xavierUniform", tensor, { a: -bound, b: bound });
}

/** Normal with std = gain * sqrt(2 / (fanIn + fanOut)). Throws as `xavierUniform`. */
export function xavierNormal<T extends Tensor>(tensor: T, gain = 1): T {
  const op = "nn.init.xavierNormal";
  return writeNormal(op, tensor, { mean: 0, std: xavierStd(op, tensor, gain) });
}

/**
 * Uniform in [-x, x) with x = gain * sqrt(3 / fan), where the gain is that of the nonlinearity.
 *
 * Throws: ShapeError below two axes; ArgumentError for an unknown mode or nonlinearity. A tensor without elements passes unchecked.
 * Source: He et al. 2015, arXiv:1502.01852.
 */
export function kaimingUniform<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  const bound = Math.sqrt(3) * kaimingStd("nn.init.kaimingUniform", tensor, options);
  return writeUniform("nn.init.kaimingUniform", tensor, { a: -bound, b: bound });
}

/** Normal with std = gain / sqrt(fan). Throws as `kaimingUniform`. */
export function kaimingNormal<T extends Tensor>(tensor: T, options: KaimingOptions = {}): T {
  const std = kaimingStd("nn.init.kaimingNormal", tensor, options);
  return writeNormal("nn.init.kaimingNormal", tensor, { mean: 0, std });
}

/**
 * A random matrix with orthonormal rows or columns, whichever are fewer, times gain; axes after the first count as one.
 *
 * Numerics: computed on the host in double precision and rounded once.
 * Throws: ShapeError below two axes; DTypeError unless floating.
 * Source: Saxe et al. 2013, arXiv:1312.6120.
 */
export function orthogonal<T extends Tensor>(tensor: T, gain = 1): T {
  const op = "nn.init.orthogonal";
  checkFloating(op, tensor);
  checkRanks(op, tensor, [2, Number.POSITIVE_INFINITY]);
  if (tensor.size === 0) return tensor;
  const rows = tensor.shape[0];
  const columns = tensor.size / rows;
  const vectors = orthonormal(defaultGenerator, Math.min(rows, columns), Math.max(rows, columns));
  return overwrite(op, tensor, (i) => {
    const [row, column] = [Math.floor(i / columns), i % columns];
    return gain * (rows < columns ? vectors[row][column] : vectors[column][row]);
  });
}

/**
 * Normal with mean 0, and in every column the share `sparsity` of the rows, rounded up, set to 0.
 *
 * Throws: ShapeError unless there are two axes; ArgumentError unless 0 <= sparsity <= 1 and std >= 0; DTypeError unless floating.
 * Unlike PyTorch: it takes any sparsity.
 * Source: Martens 2010.
 */
export function sparse<T extends Tensor>(tensor: T, sparsity: number, std = 0.01): T {
  const op = "nn.init.sparse";
  checkFloating(op, tensor);
  checkRanks(op, tensor, [2, 2]);
  if (!(sparsity >= 0 && sparsity <= 1 && std >= 0)) {
    throw new ArgumentError({
      op,
      expected: "sparsity in [0, 1] and std >= 0",
      actual: `sparsity ${sparsity}, std ${std}`,
    });
  }
  const [rows, columns] = tensor.shape;
  const zeroCount = Math.ceil(sparsity * rows);
  const ranks = Array.from({ length: columns }, () => defaultGenerator.permutation(rows));
  return overwrite(op, tensor, (i) => {
    const value = std * defaultGenerator.normal();
    return ranks[i % columns][Math.floor(i / columns)] < zeroCount ? 0 : value;
  });
}

const gains: Readonly<Record<Nonlinearity, number>> = {
  ...{ linear: 1, conv1d: 1, conv2d: 1, conv3d: 1 },
  ...{ convTranspose1d: 1, convTranspose2d: 1, convTranspose3d: 1 },
  ...{ sigmoid: 1, tanh: 5 / 3, relu: Math.SQRT2, leakyRelu: Number.NaN, selu: 3 / 4 },
};

/**
 * The factor by which weights before `nonlinearity` should be larger than those of a linear layer. `slope` is the negative slope of
 * "leakyRelu"; others ignore it.
 *
 * Throws: ArgumentError for an unknown nonlinearity.
 */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  if (!Object.hasOwn(gains, nonlinearity)) {
    throw new ArgumentError({
      op: "nn.init.calculateGain",
      expected: `one of ${Object.keys(gains).join(", ")}`,
      actual: JSON.stringify(nonlinearity),
    });
  }
  return nonlinearity === "leakyRelu" ? Math.sqrt(2 / (1 + slope ** 2)) : gains[nonlinearity];
}

/** Of a weight (outputs, inputs, ...kernel): inputs * kernel and outputs * kernel. Throws ShapeError below two axes. */
export function fanInAndFanOut(tensor: Tensor): Fans {
  return fansOf("nn.init.fanInAndFanOut", tensor);
}

function fansOf(op: string, tensor: Tensor): Fans {
  checkRanks(op, tensor, [2, Number.POSITIVE_INFINITY]);
  const [outputs, inputs, ...kernel] = tensor.shape;
  return { fanIn: inputs * sizeOf(kernel), fanOut: outputs * sizeOf(kernel) };
}

function xavierStd(op: string, tensor: Tensor, gain: number): number {
  const { fanIn, fanOut } = fansOf(op, tensor);
  if (gain >= 0) return gain * Math.sqrt(2 / (fanIn + fanOut));
  throw new ArgumentError({ op, expected: "gain >= 0", actual: String(gain) });
}

function kaimingStd(
  op: string,
  tensor: Tensor,
  { a = 0, mode = "fanIn", nonlinearity = "leakyRelu" }: KaimingOptions,
): number {
  checkTensor(op, tensor);
  if (tensor.size === 0) return 0;
  const fans = fansOf(op, tensor);
  if (Object.hasOwn(fans, mode)) return calculateGain(nonlinearity, a) / Math.sqrt(fans[mode]);
  throw new ArgumentError({
    op,
    expected: 'mode "fanIn" or "fanOut"',
    actual: JSON.stringify(mode),
  });
}
