/**
 * The contract between the library and a device: memory, and every kernel with its shapes.
 *
 * Kernels are synchronous to call on every device: the CPU has finished when they return, a GPU has queued the work.
 * Only `read` waits. So nothing here returns a value computed from data, and no kernel's arguments depend on one.
 * Callers (`ops/`) have checked ranks, sizes, dtypes and aliasing, and have resolved broadcasting: kernels check nothing.
 * Outputs are allocated by the caller, come last among the operands, and never overlap an input unless a kernel says so.
 * There are no optional methods: a kernel missing in one backend does not compile.
 */
import type { DType, TypedArray } from "../core/dtype.ts";

export type Device = "cpu" | "reference" | "webgpu";

/** What a kernel reads or writes: `length` contiguous elements from element `offset` of an allocation. */
export interface Operand {
  /** Names an allocation; only the backend that gave it knows what it stands for. Never 0. */
  readonly handle: number;
  readonly offset: number;
  readonly length: number;
  readonly dtype: DType;
}

/** Canonical view of a tensor reduced or normalised along one axis: element [o, l, i] is at (o * length + l) * inner + i. */
export interface AxisLayout {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

/** Canonical view of channels-second data: element [n, c, s] is at (n * C + c) * S + s. */
export interface ChannelLayout {
  readonly N: number;
  readonly C: number;
  readonly S: number;
}

/** Output shape with one stride per axis and input, in elements; 0 repeats. Adjacent axes are already merged; rank 1 to 6. */
export interface BroadcastLayout {
  readonly shape: readonly number[];
  readonly aStrides: readonly number[];
  readonly bStrides: readonly number[];
}

/** Output shape, and where in `x` each output element comes from, in elements. Rank 1 to 6. */
export interface StridedLayout {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

export interface MatmulLayout {
  /** out is (M, N). */
  readonly M: number;
  readonly N: number;
  readonly K: number;
  /** a is (M, K), or (K, M) when set. */
  readonly transposeA: boolean;
  /** b is (K, N), or (N, K) when set. */
  readonly transposeB: boolean;
}

/** x (N, C, H, W), y (N, K, outH, outW), weight (K, C / groups, kernelH, kernelW). */
export interface Conv2dLayout {
  readonly N: number;
  readonly C: number;
  readonly H: number;
  readonly W: number;
  readonly K: number;
  readonly kernelH: number;
  readonly kernelW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly paddingH: number;
  readonly paddingW: number;
  readonly dilationH: number;
  readonly dilationW: number;
  readonly groups: number;
  readonly outH: number;
  readonly outW: number;
}

/** x (planes, H, W), y (planes, outH, outW), where planes = N * C. */
export interface Pool2dLayout {
  readonly planes: number;
  readonly H: number;
  readonly W: number;
  readonly kernelH: number;
  readonly kernelW: number;
  readonly strideH: number;
  readonly strideW: number;
  readonly paddingH: number;
  readonly paddingW: number;
  readonly outH: number;
  readonly outW: number;
}

/** `x` and `out` share (outer, *, inner); along the axis `x` has `length` elements and `index`, `out` have `picks`. */
export interface GatherLayout extends AxisLayout {
  readonly picks: number;
}

/** One argument, same dtype out. */
export type UnaryOp =
  | "neg"
  | "abs"
  | "exp"
  | "log"
  | "sqrt"
  | "relu"
  | "leakyRelu"
  | "sigmoid"
  | "tanh";
/** Activations whose backward is one pass over dy and one saved tensor: the output y, for leakyRelu the input x. */
export type UnaryGradOp = "relu" | "leakyRelu" | "sigmoid" | "tanh";
/** Two arguments, same dtype out. */
export type BinaryOp = "add" | "sub" | "mul" | "div" | "pow" | "maximum" | "minimum";
/** Two arguments, bool out. */
export type CompareOp = "eq" | "ne" | "lt" | "le" | "gt" | "ge";
export type ReduceOp = "sum" | "mean" | "max" | "min";

/**
 * How `batchNormStats` moves the running statistics: running = (1 - f) * running + f * observed, with the *unbiased*
 * batch variance n / (n - 1) * variance, computed in double precision and rounded once.
 */
export interface RunningUpdate {
  readonly runningMean: Operand; // (C) float
  readonly runningVar: Operand; // (C) float
  /** f. Null means the cumulative average: f = 1 / (batches - skipped[0]). */
  readonly momentum: number | null;
  /** Forward calls so far, this one included and skipped ones too. */
  readonly batches: number;
  /**
   * Null lets non-finite statistics through, as PyTorch does. Otherwise (3) int32: [batches skipped so far, channel and
   * `batches` of the first one], [0, -1, 0] before any. When a mean or unbiased variance of any channel is not finite in the buffers' dtype the kernel writes
   * neither running buffer, adds 1 to skipped[0], and fills the other two if this is the first. On a GPU that is a select in the
   * kernel: nobody waits for the answer.
   */
  readonly skipped: Operand | null;
}

/** What follows the affine step in one pass: y = relu(normalised + residual), each part optional. */
export interface BatchNormEpilogue {
  readonly residual: Operand | null; // like y
  readonly relu: boolean;
}

export interface BatchNormGradOptions extends ChannelLayout {
  readonly eps: number;
  /** True when mean and variance were taken from x itself, so that gradients flow through them too. */
  readonly batchStatistics: boolean;
}

/** The gradients wanted; null ones are neither computed nor written. dWeight and dBias are in the weight's dtype. */
export interface BatchNormGradOutputs {
  readonly dx: Operand | null; // like x
  readonly dWeight: Operand | null; // (C)
  readonly dBias: Operand | null; // (C)
  /** Gradient of the residual input: dy where y > 0. Only with a fused residual; may be the only output. */
  readonly dResidual: Operand | null; // like x
}

export interface SgdOptions {
  readonly learningRate: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  /** The first step sets the momentum buffer to the gradient instead of mixing it in. */
  readonly isFirstStep: boolean;
}

export interface AdamOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** Count of this step, from 1: bias corrections are 1 - beta ** step. */
  readonly step: number;
}

export interface MemoryReport {
  readonly liveBytes: number;
  readonly peakBytes: number;
  /** Threads that kernels are spread over, the calling one included. */
  readonly threads: number;
  /** Which build of the kernels runs and why it was chosen; why threads are fewer than asked for. One sentence each. */
  readonly notes: readonly string[];
}

export interface Backend {
  readonly device: Device;
  readonly dtypes: readonly DType[];
  /** Type of batch norm's mean and variance vectors: the widest the device computes in. */
  readonly statisticsDType: "float32" | "float64";
  /** Whether `readSync` works. */
  readonly readsSynchronously: boolean;

  // ---- memory ----------------------------------------------------------------------------------------------------
  /** Contents are undefined. Zero bytes are allowed. Throws OutOfMemoryError. */
  alloc(bytes: number): number;
  /** Kernels already queued that use it still run to their end. */
  free(handle: number): void;
  /** `source` has the operand's dtype and length, and may change as soon as this returns. */
  write(out: Operand, source: TypedArray): void;
  /** An unshared copy. */
  read(x: Operand): Promise<TypedArray>;
  /** An unshared copy; throws DeviceError on a device that can only read asynchronously. */
  readSync(x: Operand): TypedArray;
  memory(): MemoryReport;

  // ---- data movement ---------------------------------------------------------------------------------------------
  /** On bool any value but 0 is 1. */
  fill(out: Operand, value: number): void;
  copy(x: Operand, out: Operand): void;
  /** Any pair of dtypes. Float to integer truncates; int32 to uint8 keeps the low byte; to bool is `x != 0`. */
  cast(x: Operand, out: Operand): void;
  /** Transposes, permutations and expansions: out[i...] = x[sum of i * stride]. */
  stridedCopy(x: Operand, out: Operand, layout: StridedLayout): void;

  // ---- elementwise -----------------------------------------------------------------------------------------------
  /** `alpha` is leakyRelu's negative slope and ignored by the others. */
  unary(op: UnaryOp, x: Operand, out: Operand, alpha: number): void;
  /** relu: dy where saved > 0, else 0 (NaN counts as not greater). */
  unaryGrad(op: UnaryGradOp, dy: Operand, saved: Operand, dx: Operand, alpha: number): void;
  /** int32 wraps in add, sub and mul, truncates in div, and gives 0 for a division by 0. pow is C's: 1 to any power is 1. */
  binary(op: BinaryOp, a: Operand, b: Operand, out: Operand, layout: BroadcastLayout): void;
  compare(op: CompareOp, a: Operand, b: Operand, out: Operand, layout: BroadcastLayout): void;
  /** sum += x, element by element: gradient accumulation. */
  addInto(x: Operand, sum: Operand): void;
  /**
   * Zeroes each element with probability p and scales the rest by 1 / (1 - p). Element i's fate depends on (seed, i) alone:
   * keep(seed, i) is `core/random.ts` `hashUniform(seed, i) >= p`, so the backward pass calls this again with the same seed on dy.
   */
  dropout(x: Operand, out: Operand, p: number, seed: number): void;

  // ---- reductions ------------------------------------------------------------------------------------------------
  /** x (outer, length, inner) -> out (outer, inner). Sums in double precision or better than naive order. Empty: sum 0, mean NaN. NaN wins max and min. */
  reduce(op: ReduceOp, x: Operand, out: Operand, layout: AxisLayout): void;
  /** out int32; the first of equals; NaN counts as the greatest. */
  argmax(x: Operand, out: Operand, layout: AxisLayout): void;
  softmax(x: Operand, y: Operand, layout: AxisLayout, log: boolean): void;
  /** From y, the output of `softmax` with the same `log`. */
  softmaxGrad(dy: Operand, y: Operand, dx: Operand, layout: AxisLayout, log: boolean): void;

  // ---- indexing --------------------------------------------------------------------------------------------------
  /** out[o, p, i] = x[o, index[o, p, i], i]; index int32 in [0, length). An index outside reads nothing and gives NaN (0 for integers). */
  gather(x: Operand, index: Operand, out: Operand, layout: GatherLayout): void;
  /** sum[o, index[o, p, i], i] += x[o, p, i], in order of p. Indices outside are passed over. */
  scatterAdd(x: Operand, index: Operand, sum: Operand, layout: GatherLayout): void;

  // ---- linear algebra --------------------------------------------------------------------------------------------
  matmul(a: Operand, b: Operand, out: Operand, layout: MatmulLayout): void;
  /** Cross-correlation, as in PyTorch. bias (K) or null. */
  conv2d(x: Operand, weight: Operand, bias: Operand | null, y: Operand, layout: Conv2dLayout): void;
  conv2dGradInput(dy: Operand, weight: Operand, dx: Operand, layout: Conv2dLayout): void;
  conv2dGradWeight(dy: Operand, x: Operand, dWeight: Operand, layout: Conv2dLayout): void;

  // ---- pooling ---------------------------------------------------------------------------------------------------
  /** indices (like y, int32): position of the maximum inside its plane, h * W + w. Padding never wins; the first of equals; NaN wins, the first of several. */
  maxPool2d(x: Operand, y: Operand, indices: Operand, layout: Pool2dLayout): void;
  /** Overlapping windows add up. */
  maxPool2dGrad(dy: Operand, indices: Operand, dx: Operand, layout: Pool2dLayout): void;
  /** Divides by the full kernel size, padding included (PyTorch's default). */
  avgPool2d(x: Operand, y: Operand, layout: Pool2dLayout): void;
  avgPool2dGrad(dy: Operand, dx: Operand, layout: Pool2dLayout): void;

  // ---- batch normalization ---------------------------------------------------------------------------------------
  // Derivations: docs/batch-norm.md. mean and variance are (C) in `statisticsDType`; variance is the biased one.
  /** Per-channel mean and biased variance of x over N and S (two passes or shifted: never E[x^2] - E[x]^2 on raw values). */
  batchNormStats(
    x: Operand,
    mean: Operand,
    variance: Operand,
    layout: ChannelLayout,
    update: RunningUpdate | null,
  ): void;
  /** y = (x - mean) / sqrt(variance + eps) * weight + bias, then the epilogue. Null weight is 1, null bias 0. */
  batchNormApply(
    x: Operand,
    mean: Operand,
    variance: Operand,
    weight: Operand | null,
    bias: Operand | null,
    y: Operand,
    options: ChannelLayout & BatchNormEpilogue & { readonly eps: number },
  ): void;
  /** `reluOutput` is the forward's y when ReLU was fused: dy counts only where it is > 0. */
  batchNormGrad(
    dy: Operand,
    x: Operand,
    mean: Operand,
    variance: Operand,
    weight: Operand | null,
    reluOutput: Operand | null,
    outputs: BatchNormGradOutputs,
    options: BatchNormGradOptions,
  ): void;

  // ---- optimizers ------------------------------------------------------------------------------------------------
  /** PyTorch's SGD for one parameter, in place; momentumBuffer is null without momentum. */
  sgdStep(
    parameter: Operand,
    grad: Operand,
    momentumBuffer: Operand | null,
    options: SgdOptions,
  ): void;
  /** PyTorch's Adam for one parameter, in place. */
  adamStep(
    parameter: Operand,
    grad: Operand,
    expAvg: Operand,
    expAvgSq: Operand,
    options: AdamOptions,
  ): void;
}
