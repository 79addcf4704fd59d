/** What every error of the library carries beside its sentence, so that programs need not parse text. */
export interface ErrorDetails {
  /** Name of the operation: "conv2d". */
  readonly op: string;
  /** What it takes: the message has it behind "expected". */
  readonly expected: string;
  /** What came instead: the message has it behind "got". */
  readonly actual: string;
  /** What to do about it, when that is known. */
  readonly hint?: string;
  /** The error that led to this one. */
  readonly cause?: unknown;
}

/** Base of all errors thrown on purpose: one sentence naming the operation, what it expected and what came. */
export class EvenkeelError extends Error {
  /** The class's name, written out: minifiers would change `new.target.name`. */
  override name = "EvenkeelError";
  /** Name of the operation that threw: "conv2d". */
  readonly op: string;
  /** What it takes, as in the message. */
  readonly expected: string;
  /** What came instead, as in the message. */
  readonly actual: string;
  /** What to do about it; undefined where that is not known. */
  readonly hint: string | undefined;

  constructor(details: ErrorDetails) {
    const { op, expected, actual, hint, cause } = details;
    super(
      `${op}: expected ${expected}, got ${actual}${hint ? `; ${hint}` : ""}`,
      cause === undefined ? undefined : { cause },
    );
    this.op = op;
    this.expected = expected;
    this.actual = actual;
    this.hint = hint;
  }
}

/** A rank, size or channel count that does not fit. */
export class ShapeError extends EvenkeelError {
  override name = "ShapeError";
}

/** An element type that the operation does not take, or a mix that is not promoted. */
export class DTypeError extends EvenkeelError {
  override name = "DTypeError";
}

/** Tensors on different devices, or a request that the device cannot meet. */
export class DeviceError extends EvenkeelError {
  override name = "DeviceError";
}

/** An option or argument out of its range. */
export class ArgumentError extends EvenkeelError {
  override name = "ArgumentError";
}

/** A backward pass that cannot be right: overwritten tensors, a released graph, no graph at all. */
export class AutogradError extends EvenkeelError {
  override name = "AutogradError";
}

/** A tensor used after its scope ended or after `dispose()`, or a scope held across an `await`. */
export class LifetimeError extends EvenkeelError {
  override name = "LifetimeError";
}

/** The device has no room left for an allocation. */
export class OutOfMemoryError extends EvenkeelError {
  override name = "OutOfMemoryError";
  /** Bytes asked for. */
  readonly bytes: number;

  constructor(details: ErrorDetails & { readonly bytes: number }) {
    super(details);
    this.bytes = details.bytes;
  }
}

/** A data file that is missing or damaged. */
export class DataError extends EvenkeelError {
  override name = "DataError";
}

/** State that does not fit what it is loaded into: its keys, shapes or kinds of values. */
export class StateDictError extends EvenkeelError {
  override name = "StateDictError";
  /** Keys of the model that the state dict lacks, all of them where the message has the first. Empty for other causes. */
  readonly missingKeys: readonly string[];
  /** Keys of the state dict that the model lacks, likewise. */
  readonly unexpectedKeys: readonly string[];
  /** Keys of both whose shapes differ. */
  readonly mismatchedKeys: readonly string[];

  constructor(
    details: ErrorDetails & {
      readonly missingKeys?: readonly string[];
      readonly unexpectedKeys?: readonly string[];
      readonly mismatchedKeys?: readonly string[];
    },
  ) {
    super(details);
    const { missingKeys = [], unexpectedKeys = [], mismatchedKeys = [] } = details;
    this.missingKeys = missingKeys;
    this.unexpectedKeys = unexpectedKeys;
    this.mismatchedKeys = mismatchedKeys;
  }
}

/** A checkpoint file that is damaged or lies about itself. */
export class CheckpointError extends EvenkeelError {
  override name = "CheckpointError";
  /** Byte offset in the file where reading failed; 0 if nothing could be read or written. */
  readonly offset: number;

  constructor(details: ErrorDetails & { readonly offset: number }) {
    super(details);
    this.offset = details.offset;
  }
}
