/** Moving elements: fill, copy, cast, strided copy and write. */
import { bytesPerElement, type DType } from "../../core/dtype.ts";
import type { Backend, Operand, StridedLayout } from "../backend.ts";
import { cutEvenly, floatBits, groupUnits, withJob } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";

/** As kernel names call them; bool is a byte unless it is written to. */
const typeNames = {
  float32: "Float",
  float16: "Half",
  float64: "Double",
  int32: "Int",
  uint8: "Byte",
  bool: "Byte",
} as const satisfies Record<DType, string>;

type TypeName = (typeof typeNames)[DType];

/** By source and target; a pair that is not here has the same bytes. float16 has what `withFloat16` asks for. */
const casts: Readonly<Record<TypeName, Readonly<Partial<Record<TypeName | "Bool", KernelName>>>>> =
  {
    Float: {
      Int: "castFloatToInt",
      Byte: "castFloatToByte",
      Double: "castFloatToDouble",
      Bool: "castFloatToBool",
      Half: "castFloatToHalf",
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
      Half: "castDoubleToHalf",
    },
    Half: { Float: "castHalfToFloat" },
  };

export function movementKernels(
  machine: Machine,
): Pick<Backend, "fill" | "copy" | "cast" | "stridedCopy" | "stridedWrite"> {
  return {
    fill: (out, value) => fill(machine, out, value),
    copy: (x, out) => copy(machine, x, out),
    cast: (x, out) => castInto(machine, x, out),
    stridedCopy: (x, out, layout) => stridedCopy(machine, x, out, layout),
    stridedWrite: (x, out, layout, accumulate) =>
      accumulate ? stridedAdd(machine, x, out, layout) : stridedWrite(machine, x, out, layout),
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

/** An axis of the dense side, with its strides in the strided side and in the dense one. */
interface Axis {
  readonly size: number;
  readonly stride: number;
  readonly dense: number;
}

const unit: Axis = { size: 1, stride: 0, dense: 0 };

function stridedCopy(machine: Machine, x: Operand, out: Operand, layout: StridedLayout): void {
  const axes = axesOf(layout);
  const inner = axes.pop() ?? unit;
  const contiguous = axes.findIndex(isRun);
  if (bytesPerElement(x.dtype) === 4 && inner.size >= 8 && inner.stride > 1 && contiguous >= 0) {
    const [middle] = axes.splice(contiguous, 1);
    transpose(machine, x, out, { axes, middle, inner });
    return;
  }
  walkRows(machine, `stridedCopy${widthOf(x.dtype)}`, { x, out, length: out.length, layout });
}

function stridedWrite(machine: Machine, x: Operand, out: Operand, layout: StridedLayout): void {
  const axes = axesOf(layout);
  const middle = axes.pop() ?? unit;
  const contiguous = axes.findIndex(isRun);
  if (bytesPerElement(x.dtype) === 4 && middle.size >= 8 && middle.stride > 1 && contiguous >= 0) {
    const [inner] = axes.splice(contiguous, 1);
    const turned = { axes: axes.map(turn), middle: turn(middle), inner: turn(inner) };
    transpose(machine, x, out, turned);
    return;
  }
  walkRows(machine, `stridedWrite${widthOf(x.dtype)}`, { x, out, length: x.length, layout });
}

function stridedAdd(machine: Machine, x: Operand, out: Operand, layout: StridedLayout): void {
  const kernel = x.dtype === "float32" ? "stridedAddFloats" : "stridedAddInts";
  walkRows(machine, kernel, { x, out, length: x.length, layout });
}

/** As kernels that move bytes whatever they mean call it. */
function widthOf(dtype: DType) {
  switch (bytesPerElement(dtype)) {
    case 1:
      return "Bytes";
    case 4:
      return "Words";
    default:
      return "Doubles";
  }
}

/** An axis that repays being walked along, because its elements are neighbours in the strided side. */
function isRun({ stride, size }: Axis): boolean {
  return stride === 1 && size >= 8;
}

/** The same axis with the sides swapped. */
function turn({ size, stride, dense }: Axis): Axis {
  return { size, stride: dense, dense: stride };
}

function axesOf({ shape, strides }: StridedLayout): Axis[] {
  const axes: Axis[] = [];
  let dense = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    axes.unshift({ size: shape[axis], stride: strides[axis], dense });
    dense *= shape[axis];
  }
  return axes;
}

interface Axes {
  readonly axes: readonly Axis[];
  readonly middle: Axis;
  readonly inner: Axis;
}

interface Walk {
  readonly x: Operand;
  readonly out: Operand;
  /** Elements of the dense side. */
  readonly length: number;
  readonly layout: StridedLayout;
}

/** Goes through the dense side in order, a row at a time. */
function walkRows(machine: Machine, kernel: KernelName, { x, out, length, layout }: Walk): void {
  const axes = axesOf(layout);
  const inner = axes.pop() ?? unit;
  const middle = axes.pop() ?? unit;
  const { chunks, perChunk } = cutEvenly(length);
  const words = jobOf(x, out, { axes, middle, inner }, [length, perChunk]);
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

/** The words of `Strided` in kernels/movement.ts. */
function jobOf(x: Operand, out: Operand, parts: Axes, count: readonly number[]): number[] {
  const { axes, middle, inner } = parts;
  return [
    ...[addressOf(x), addressOf(out), ...count],
    ...[inner.size, inner.stride, middle.size, middle.stride, middle.dense],
    axes.length,
    ...[...axes].reverse().flatMap(({ size, stride, dense }) => [size, stride, dense]),
  ];
}

/**
 * Reading along the axis on which x is contiguous, `middle`, and writing along the one on which out is, `inner`, tile by tile:
 * about three times as fast as element by element.
 */
function transpose(machine: Machine, x: Operand, out: Operand, parts: Axes): void {
  const { axes, middle, inner } = parts;
  const outer = axes.reduce((product, { size }) => product * size, 1);
  const units = outer * Math.ceil(middle.size / 16) * Math.ceil(inner.size / 512);
  const unitElements = Math.min(middle.size, 16) * Math.min(inner.size, 512);
  const { chunks, perChunk } = groupUnits(units, unitElements);
  const words = jobOf(x, out, parts, [units, perChunk]);
  withJob(machine, words, (job) => machine.run("transposeWords", chunks, [job]));
}
