/** Moving elements: fill, copy, cast, strided copy. */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { Backend, Operand, StridedLayout } from "../backend.ts";
import { cutEvenly, floatBits, groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";

/** As kernel names call them; bool is a byte unless it is written to. */
const typeNames = {
  float32: "Float",
  float64: "Double",
  int32: "Int",
  uint8: "Byte",
  bool: "Byte",
} as const satisfies Record<DType, string>;

type TypeName = (typeof typeNames)[DType];

/** By source and target; a pair that is not here has the same bytes. */
const casts: Readonly<Record<TypeName, Readonly<Partial<Record<TypeName | "Bool", KernelName>>>>> =
  {
    Float: {
      Int: "castFloatToInt",
      Byte: "castFloatToByte",
      Double: "castFloatToDouble",
      Bool: "castFloatToBool",
    },
    Int: {
      Float: "castIntToFloat",
      Byte: "castIntToByte",
      Double: "castIntToDouble",
      Bool: "castIntToBool",
    },
    Byte: {
      Float: "castByteToFloat",
      Int: "castByteToInt",
      Double: "castByteToDouble",
      Bool: "castByteToBool",
    },
    Double: {
      Float: "castDoubleToFloat",
      Int: "castDoubleToInt",
      Byte: "castDoubleToByte",
      Bool: "castDoubleToBool",
    },
  };

export function movementKernels(
  machine: Machine,
): Pick<Backend, "fill" | "copy" | "cast" | "stridedCopy"> {
  return {
    fill: (out, value) => fill(machine, out, value),
    copy: (x, out) => copy(machine, x, out),
    cast: (x, out) => castInto(machine, x, out),
    stridedCopy: (x, out, layout) => stridedCopy(machine, x, out, layout),
  };
}

function fill(machine: Machine, out: Operand, value: number): void {
  const { chunks, perChunk } = cutEvenly(out.length);
  const common = [addressOf(out), out.length, perChunk];
  switch (out.dtype) {
    case "float32":
      machine.run("fillWords", chunks, [...common, floatBits(value)]);
      return;
    case "int32":
      machine.run("fillWords", chunks, [...common, value]);
      return;
    case "float64":
      machine.run("fillDoubles", chunks, [...common, value]);
      return;
    case "uint8":
      machine.run("fillBytes", chunks, [...common, value]);
      return;
    case "bool":
      machine.run("fillBytes", chunks, [...common, Number(value !== 0)]);
  }
}

function copy(machine: Machine, x: Operand, out: Operand): void {
  const bytes = x.length * bytesPerElement(x.dtype);
  const { chunks, perChunk } = cutEvenly(bytes / 4);
  machine.run("copyBytes", chunks, [addressOf(x), addressOf(out), bytes, perChunk * 4]);
}

/** out = x, converted. */
export function castInto(machine: Machine, x: Operand, out: Operand): void {
  const target = out.dtype === "bool" ? "Bool" : typeNames[out.dtype];
  const kernel = x.dtype === out.dtype ? undefined : casts[typeNames[x.dtype]][target];
  if (kernel === undefined) {
    copy(machine, x, out);
    return;
  }
  const { chunks, perChunk } = cutEvenly(x.length);
  const words = [addressOf(x), addressOf(out), x.length, perChunk];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

/** An axis of the copy: how many, and how far apart in x and in out. */
interface Axis {
  readonly size: number;
  readonly xStride: number;
  readonly outStride: number;
}

const unit: Axis = { size: 1, xStride: 0, outStride: 0 };

function stridedCopy(machine: Machine, x: Operand, out: Operand, layout: StridedLayout): void {
  const axes = axesOf(layout);
  const inner = axes.pop() ?? unit;
  const contiguous = axes.findIndex(({ xStride, size }) => xStride === 1 && size >= 8);
  if (bytesPerElement(x.dtype) === 4 && inner.size >= 8 && inner.xStride > 1 && contiguous >= 0) {
    const [middle] = axes.splice(contiguous, 1);
    transpose(machine, x, out, { axes, middle, inner });
    return;
  }
  const middle = axes.pop() ?? unit;
  const { chunks, perChunk } = cutEvenly(out.length);
  const words = jobOf(x, out, { axes, middle, inner }, [out.length, perChunk]);
  withJob(machine, words, (job) => machine.run(copyKernelOf(x.dtype), chunks, [job]));
}

function copyKernelOf(dtype: DType) {
  switch (bytesPerElement(dtype)) {
    case 1:
      return "stridedCopyBytes";
    case 4:
      return "stridedCopyWords";
    default:
      return "stridedCopyDoubles";
  }
}

function axesOf({ shape, strides }: StridedLayout): Axis[] {
  const axes: Axis[] = [];
  let outStride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    axes.unshift({ size: shape[axis], xStride: strides[axis], outStride });
    outStride *= shape[axis];
  }
  return axes;
}

interface Axes {
  readonly axes: readonly Axis[];
  readonly middle: Axis;
  readonly inner: Axis;
}

/** The words of `Strided` in kernels/movement.ts. */
function jobOf(x: Operand, out: Operand, parts: Axes, count: readonly number[]): number[] {
  const { axes, middle, inner } = parts;
  return [
    ...[addressOf(x), addressOf(out), ...count],
    ...[inner.size, inner.xStride, middle.size, middle.xStride, middle.outStride],
    axes.length,
    ...[...axes].reverse().flatMap(({ size, xStride, outStride }) => [size, xStride, outStride]),
  ];
}

/** Reading along the axis on which x is contiguous, tile by tile: about three times as fast as element by element. */
function transpose(machine: Machine, x: Operand, out: Operand, parts: Axes): void {
  const { axes, middle, inner } = parts;
  const outer = axes.reduce((product, { size }) => product * size, 1);
  const units = outer * Math.ceil(middle.size / 16) * Math.ceil(inner.size / 512);
  const unitElements = Math.min(middle.size, 16) * Math.min(inner.size, 512);
  const { chunks, perChunk } = groupUnits(units, unitElements);
  const words = jobOf(x, out, parts, [units, perChunk]);
  withJob(machine, words, (job) => machine.run("transposeWords", chunks, [job]));
}
