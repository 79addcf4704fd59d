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

/** Where tensors live: "cpu" has the fast kernels, "reference" plain loops and float64; "webgpu" is not there yet. */
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

/** A dense side's shape, and where in the strided side each of its elements lies, in elements. Rank 1 to 6. */
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
  /** Products: `batch` matrices of out, one behind the other. */
  readonly batch: number;
  /** Elements between one matrix of a and the next; 0 repeats the first. */
  readonly aStep: number;
  /** As `aStep`. */
  readonly bStep: number;
}

/**
 * x (N, C, H, W), y (N, K, outH, outW), weight (K, C / groups, kernelH, kernelW).
 *
 * The output sizes are the caller's choice: windows beyond the last row or column of x meet zeros ("same" padding with an odd
 * one at the end), and x may have rows and columns that no window reaches, whose gradient is 0 (transposed convolution).
 */
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

/** Along one axis, window i holds the positions i * stride - padding + k * dilation, k in [0, kernel), that lie in [0, size). */
export interface PoolAxis {
  readonly size: number;
  /** Windows. */
  readonly out: number;
  readonly kernel: number;
  readonly stride: number;
  /** At most half the kernel. */
  readonly padding: number;
  readonly dilation: number;
}

/** x (planes, D, H, W), y (planes, outD, outH, outW), planes = N * C. Axes that a pool lacks have size 1, D first. */
export interface PoolLayout {
  readonly planes: number;
  /** D, H and W. */
  readonly axes: readonly [PoolAxis, PoolAxis, PoolAxis];
  /** Windows cut each axis evenly instead: window i is [floor(i * size / out), ceil((i + 1) * size / out)), the rest unused. */
  readonly isAdaptive: boolean;
}

/** The dilation is 1. */
export interface AvgPoolLayout extends PoolLayout {
  /** What a sum is divided by: the positions of its window that lie in the padded input, those that lie in x, or this number. */
  readonly divisor: "padded" | "inside" | number;
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
  | "relu6"
  | "leakyRelu"
  | "sigmoid"
  | "tanh"
  | "gelu"
  | "geluTanh"
  | "silu"
  | "softplus";
/**
 * Activations whose backward is one pass over dy and one saved tensor: the output y of relu, relu6, sigmoid and tanh, the input x
 * of the others.
 */
export type UnaryGradOp =
  | "relu"
  | "relu6"
  | "leakyRelu"
  | "sigmoid"
  | "tanh"
  | "gelu"
  | "geluTanh"
  | "silu"
  | "softplus";
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
   * `batches` of the first one], [0, -1, 0] before any. When a mean or unbiased variance of any channel is not finite in the buffers' dtype (float16: in float32) the kernel writes
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

export interface BatchNormApplyOptions extends ChannelLayout, BatchNormEpilogue {
  readonly eps: number;
}

export interface BatchNormGradOptions extends ChannelLayout {
  readonly eps: number;
  /** Whether ReLU was fused into the forward. */
  readonly relu: boolean;
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

/** A parameter and its gradient, of one length and dtype, as is what an optimizer remembers beside them. */
export interface Stepped {
  readonly parameter: Operand;
  readonly grad: Operand;
}

export interface SgdEntry extends Stepped {
  /** Null without momentum. */
  readonly momentumBuffer: Operand | null;
}

export interface AdamEntry extends Stepped {
  readonly expAvg: Operand;
  readonly expAvgSq: Operand;
  /** Null without amsgrad. */
  readonly maxExpAvgSq: Operand | null;
}

export interface RmspropEntry extends Stepped {
  readonly squareAvg: Operand;
  /** Null unless centered. */
  readonly gradAvg: Operand | null;
  /** Null without momentum. */
  readonly momentumBuffer: Operand | null;
}

export interface SgdOptions {
  readonly learningRate: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly weightDecay: number;
  readonly nesterov: boolean;
  /** Climb: the gradient counts with the opposite sign. */
  readonly maximize: boolean;
  /** The first step sets the momentum buffer to the gradient instead of mixing it in. */
  readonly isFirstStep: boolean;
}

export interface AdamOptions {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly eps: number;
  readonly weightDecay: number;
  /** AdamW: the parameter shrinks by learningRate * weightDecay first; else the decay is added to the gradient. */
  readonly decoupledWeightDecay: boolean;
  readonly maximize: boolean;
  /** Count of this step, from 1: bias corrections are 1 - beta ** step. */
  readonly step: number;
}

export interface RmspropOptions {
  readonly learningRate: number;
  /** Decay of both averages. */
  readonly alpha: number;
  readonly eps: number;
  readonly weightDecay: number;
  readonly momentum: number;
  readonly maximize: boolean;
}

export interface MemoryReport {
  readonly liveBytes: number;
  readonly peakBytes: number;
  /** Threads that kernels are spread over, the calling one included. */
  readonly threads: number;
  /** Which build of the kernels runs and why it was chosen; why threads are fewer than asked for. One sentence each. */
  readonly notes: readonly string[];
}

/** Devices without float16 of their own have it through `withFloat16` (half.ts), and their kernels never meet it. */
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
  /** `source` is of the operand's dtype (float16: a Float32Array) and length, and may change as soon as this returns. */
  write(out: Operand, source: TypedArray): void;
  /** An unshared copy; float16 as a Float32Array. */
  read(x: Operand): Promise<TypedArray>;
  /** An unshared copy; throws DeviceError on a device that can only read asynchronously. */
  readSync(x: Operand): TypedArray;
  memory(): MemoryReport;

  // ---- data movement ---------------------------------------------------------------------------------------------
  /** On bool any value but 0 is 1. */
  fill(out: Operand, value: number): void;
  copy(x: Operand, out: Operand): void;
  /** Any pair of dtypes, rounding once. Float to integer truncates; int32 to uint8 keeps the low byte; to bool is `x != 0`. */
  cast(x: Operand, out: Operand): void;
  /** Transposes, permutations, expansions, blocks and windows: out[i...] = x[sum of i * stride]. */
  stridedCopy(x: Operand, out: Operand, layout: StridedLayout): void;
  /**
   * The reverse: out[sum of i * stride] = x[i...], or += when `accumulate` is set (float and int32 only). The layout's shape is
   * x's; its strides address no element of out twice, and what they do not address stays as it is.
   */
  stridedWrite(x: Operand, out: Operand, layout: StridedLayout, accumulate: boolean): void;

  // ---- elementwise -----------------------------------------------------------------------------------------------
  /** `alpha` is leakyRelu's negative slope, or softplus's threshold, above which it gives x itself; ignored by the others. */
  unary(op: UnaryOp, x: Operand, out: Operand, alpha: number): void;
  /** relu: dy where saved > 0, else 0 (NaN counts as not greater); relu6 where it is below 6, too. `alpha` as in `unary`. */
  unaryGrad(op: UnaryGradOp, dy: Operand, saved: Operand, dx: Operand, alpha: number): void;
  /** int32 wraps in add, sub and mul, truncates in div, and gives 0 for a division by 0. pow is C's: 1 to any power is 1. */
  binary(op: BinaryOp, a: Operand, b: Operand, out: Operand, layout: BroadcastLayout): void;
  compare(op: CompareOp, a: Operand, b: Operand, out: Operand, layout: BroadcastLayout): void;
  /** out = condition ? a : b, element by element. condition is bool; a, b and out share a dtype, which may be any; all of one length. */
  select(condition: Operand, a: Operand, b: Operand, out: Operand): void;
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
  /** out[o, p, i] = x[o, index[p], i]: `gather` with one index of `picks` for all o and i. */
  indexSelect(x: Operand, index: Operand, out: Operand, layout: GatherLayout): void;
  /** sum[o, index[p], i] += x[o, p, i], in order of p. Indices outside are passed over. */
  indexAdd(x: Operand, index: Operand, sum: Operand, layout: GatherLayout): void;

  // ---- linear algebra --------------------------------------------------------------------------------------------
  /** out[p] = a[p] b[p], one product per p of the batch. */
  matmul(a: Operand, b: Operand, out: Operand, layout: MatmulLayout): void;
  /** Cross-correlation, as in PyTorch. bias (K) or null. */
  conv2d(x: Operand, weight: Operand, bias: Operand | null, y: Operand, layout: Conv2dLayout): void;
  conv2dGradInput(dy: Operand, weight: Operand, dx: Operand, layout: Conv2dLayout): void;
  conv2dGradWeight(dy: Operand, x: Operand, dWeight: Operand, layout: Conv2dLayout): void;

  // ---- pooling ---------------------------------------------------------------------------------------------------
  /**
   * indices (like y, int32): position of the maximum inside its plane, (d * H + h) * W + w. Padding never wins; the first of equals;
   * NaN wins, the last of several. A dilated window that steps over all of x has the maximum -Infinity and the index -1.
   */
  maxPool(x: Operand, y: Operand, indices: Operand, layout: PoolLayout): void;
  /** Overlapping windows add up; index -1 adds nothing. */
  maxPoolGrad(dy: Operand, indices: Operand, dx: Operand, layout: PoolLayout): void;
  avgPool(x: Operand, y: Operand, layout: AvgPoolLayout): void;
  avgPoolGrad(dy: Operand, dx: Operand, layout: AvgPoolLayout): void;

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
    options: BatchNormApplyOptions,
  ): void;
  /** `batchNormStats`, then `batchNormApply` with what it found: together a device may read x once. */
  batchNormTrain(
    x: Operand,
    mean: Operand,
    variance: Operand,
    weight: Operand | null,
    bias: Operand | null,
    y: Operand,
    update: RunningUpdate | null,
    options: BatchNormApplyOptions,
  ): void;
  /**
   * Gradients of `batchNormApply`. When ReLU was fused, dy counts only where y is above 0: that of `reluOutput`, or where it is null the
   * forward's y computed again from x, weight and bias, to the bit. With a residual `reluOutput` must be given.
   */
  batchNormGrad(
    dy: Operand,
    x: Operand,
    mean: Operand,
    variance: Operand,
    weight: Operand | null,
    bias: Operand | null,
    reluOutput: Operand | null,
    outputs: BatchNormGradOutputs,
    options: BatchNormGradOptions,
  ): void;

  // ---- optimizers ------------------------------------------------------------------------------------------------
  // Each steps all entries, in place; no operand is in two of them.
  /** PyTorch's SGD. */
  sgdStep(entries: readonly SgdEntry[], options: SgdOptions): void;
  /** PyTorch's Adam or AdamW. */
  adamStep(entries: readonly AdamEntry[], options: AdamOptions): void;
  /** PyTorch's RMSprop, but squareAvg - gradAvg ** 2 counts as 0 where rounding makes it negative. */
  rmspropStep(entries: readonly RmspropEntry[], options: RmspropOptions): void;
  /** average += weight * (x - average), exact at weights 0 and 1: PyTorch's lerp, for averaged models. */
  averageInto(x: Operand, average: Operand, weight: number): void;
}
