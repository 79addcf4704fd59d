/** Elementwise operations. float32 and int32 have kernels; uint8 and bool go through int32. */
import { bytesPerElement } from "../../core/dtype.ts";
import { DTypeError } from "../../core/errors.ts";
import type { Backend, BroadcastLayout, CompareOp, Operand, UnaryOp } from "../backend.ts";
import { cutEvenly, floatBits, withJob, withTemporary } from "./job.ts";
import { addressOf, type KernelName, type Machine } from "./machine.ts";
import { castInto } from "./movement.ts";

type ElementwiseKernels = Pick<
  Backend,
  "unary" | "unaryGrad" | "binary" | "compare" | "select" | "addInto" | "dropout"
>;

export function elementwiseKernels(machine: Machine): ElementwiseKernels {
  return {
    unary(op, x, out, alpha) {
      withWords(machine, op, [x], ([input]) => {
        const kernel = input.dtype === "float32" ? (`${op}Float` as const) : intKernel(op);
        intoWords(machine, out, (output) => map(machine, kernel, { a: input, out: output, alpha }));
      });
    },
    unaryGrad(op, dy, saved, dx, alpha) {
      requireFloat(op, dy);
      map(machine, `${op}Grad`, { a: dy, b: saved, out: dx, alpha });
    },
    binary(op, a, b, out, layout) {
      withWords(machine, op, [a, b], ([left, right]) => {
        const kernel = `${op}${suffix(left)}` as const;
        intoWords(machine, out, (output) => {
          broadcast(machine, kernel, [left, right, output], layout);
        });
      });
    },
    compare(op, a, b, out, layout) {
      withWords(machine, op, [a, b], ([left, right]) => {
        compare(machine, op, [left, right, out], layout);
      });
    },
    select(condition, a, b, out) {
      if (out.dtype === "float64") requireFloat("select", out);
      const kernel = bytesPerElement(out.dtype) === 1 ? "selectBytes" : "selectWords";
      const { chunks, perChunk } = cutEvenly(out.length);
      const words = [...[condition, a, b, out].map(addressOf), out.length, perChunk];
      withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
    },
    addInto(x, sum) {
      withWords(machine, "addInto", [x, sum], ([from, total]) => {
        map(machine, `addInto${suffix(from)}`, { a: from, b: total, out: total });
        if (total !== sum) castInto(machine, total, sum);
      });
    },
    dropout(x, out, p, seed) {
      requireFloat("dropout", x);
      const { chunks, perChunk } = cutEvenly(x.length);
      // Draws are multiples of 2^-24, so comparing integers is `draw >= p` exactly.
      const threshold = Math.ceil(p * 16777216);
      const args = [addressOf(x), addressOf(out), x.length, perChunk, seed, threshold, 1 / (1 - p)];
      machine.run("dropout", chunks, args);
    },
  };
}

function suffix(operand: Operand): "Float" | "Int" {
  return operand.dtype === "float32" ? "Float" : "Int";
}

function intKernel(op: UnaryOp): KernelName {
  if (op === "neg" || op === "abs" || op === "relu") return `${op}Int`;
  throw new DTypeError({ op, expected: "float32", actual: "an integer", hint: "cast it first" });
}

/** Throws: DTypeError unless `operand` is float32. */
export function requireFloat(op: string, operand: Operand): void {
  if (operand.dtype === "float32") return;
  throw new DTypeError({
    op,
    expected: "float32 on the CPU device",
    actual: operand.dtype,
    hint: "float64 lives on the reference device",
  });
}

/**
 * Calls `use` with operands that are float32 or int32: bytes come as int32 copies.
 *
 * Throws: DTypeError for float64.
 */
export function withWords(
  machine: Machine,
  op: string,
  operands: readonly Operand[],
  use: (operands: readonly Operand[]) => void,
): void {
  const index = operands.findIndex(({ dtype }) => bytesPerElement(dtype) !== 4);
  if (index < 0) {
    use(operands);
    return;
  }
  const { dtype, length } = operands[index];
  if (dtype === "float64") requireFloat(op, operands[index]);
  withTemporary(machine, { dtype: "int32", length }, (copy) => {
    castInto(machine, operands[index], copy);
    withWords(machine, op, operands.with(index, copy), use);
  });
}

/** Calls `compute` with an output that is float32 or int32 and converts it to `out` if that is bytes. */
export function intoWords(machine: Machine, out: Operand, compute: (out: Operand) => void): void {
  if (bytesPerElement(out.dtype) === 4) {
    compute(out);
    return;
  }
  withTemporary(machine, { dtype: "int32", length: out.length }, (wide) => {
    compute(wide);
    castInto(machine, wide, out);
  });
}

/** What a kernel of kernels/elementwise.ts works on; all contiguous, with as many elements. */
interface Elements {
  readonly a: Operand;
  readonly b?: Operand;
  readonly out: Operand;
  readonly alpha?: number;
}

function map(machine: Machine, kernel: KernelName, { a, b, out, alpha = 0 }: Elements): void {
  const { chunks, perChunk } = cutEvenly(a.length);
  const operands = [a, b ?? a, out].map(addressOf);
  const words = [...operands, a.length, perChunk, floatBits(alpha)];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

const swapped = { gt: "lt", ge: "le" } as const;

function compare(
  machine: Machine,
  op: CompareOp,
  [a, b, out]: readonly Operand[],
  layout: BroadcastLayout,
): void {
  if (op === "gt" || op === "ge") {
    const { shape, aStrides, bStrides } = layout;
    const mirrored = { shape, aStrides: bStrides, bStrides: aStrides };
    compare(machine, swapped[op], [b, a, out], mirrored);
    return;
  }
  broadcast(machine, `${op}${suffix(a)}`, [a, b, out], layout);
}

function broadcast(
  machine: Machine,
  kernel: KernelName,
  [a, b, out]: readonly Operand[],
  layout: BroadcastLayout,
): void {
  const { chunks, perChunk } = cutEvenly(out.length);
  const axes = layout.shape.map((size, axis) => [
    size,
    layout.aStrides[axis],
    layout.bStrides[axis],
  ]);
  const inner = axes.pop() ?? single;
  const middle = axes.pop() ?? single;
  // The words of `Broadcast` in kernels/broadcast.ts.
  const words = [
    ...[addressOf(a), addressOf(b), addressOf(out), out.length, perChunk],
    ...[...inner, ...middle, axes.length, ...axes.reverse().flat()],
  ];
  withJob(machine, words, (job) => machine.run(kernel, chunks, [job]));
}

/** Size and strides of an axis that is not there. */
const single = [1, 0, 0];
