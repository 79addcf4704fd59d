/**
 * Loops over broadcast operands. An operation is a class with one formula on four lanes; loops take it as a type parameter
 * and call it through a null reference, which compiles to the formula itself. Tails run the same formula with one lane in
 * use, so an element's value does not depend on its place.
 */

/** What a binary kernel works on: the output's rows, in order, and where in a and b each row lies. Strides in elements. */
class Broadcast {
  a: usize;
  b: usize;
  out: usize;
  count: usize;
  perChunk: usize;
  /** The last axis of the output, the one before it, and how many more there are. */
  inner: usize;
  aInner: usize;
  bInner: usize;
  middle: usize;
  aMiddle: usize;
  bMiddle: usize;
  outerAxes: usize;
  // Then, for each outer axis from the last: size, stride in a, stride in b.
}

// ---- operands and results ---------------------------------------------------------------------------------------------

/** An operand that advances with the output, from `byte` bytes behind its start. */
class Moving {
  four(start: usize, byte: usize): v128 {
    return v128.load(start + byte);
  }

  one(start: usize, byte: usize): v128 {
    return v128.load32_zero(start + byte);
  }
}

/** An operand that is one element for the whole row. */
class Fixed {
  four(start: usize, byte: usize): v128 {
    return v128.load32_splat(start);
  }

  one(start: usize, byte: usize): v128 {
    return v128.load32_zero(start);
  }
}

/** Four-byte results. */
class Words {
  step(): usize {
    return 4;
  }

  four(out: usize, index: usize, y: v128): void {
    v128.store(out + (index << 2), y);
  }

  one(out: usize, index: usize, y: v128): void {
    v128.store32_lane(out + (index << 2), y, 0);
  }
}

/** Masks, stored as bytes 0 and 1. */
class Bools {
  step(): usize {
    return 1;
  }

  four(out: usize, index: usize, y: v128): void {
    const halves = i16x8.narrow_i32x4_s(y, y);
    const bytes = i8x16.narrow_i16x8_s(halves, halves);
    v128.store32_lane(out + index, v128.and(bytes, i8x16.splat(1)), 0);
  }

  one(out: usize, index: usize, y: v128): void {
    store<u8>(out + index, i32x4.extract_lane(y, 0) & 1);
  }
}

// ---- loops ------------------------------------------------------------------------------------------------------------

/** Where the row of outer index `row` begins in a (operand 0) or b (operand 1), in elements. */
function outerOffset(job: Broadcast, row: usize, operand: usize): usize {
  let axis = changetype<usize>(job) + offsetof<Broadcast>();
  // One axis, the usual case, needs no division.
  if (job.outerAxes === 1) return row * load<usize>(axis + 4 + (operand << 2));
  let offset: usize = 0;
  for (let i: usize = 0; i < job.outerAxes; i++, axis += 12) {
    const size = load<usize>(axis);
    offset += (row % size) * load<usize>(axis + 4 + (operand << 2));
    row /= size;
  }
  return offset;
}

function row<Op, A, B, Out>(a: usize, b: usize, out: usize, count: usize): void {
  const op = changetype<Op>(0);
  const left = changetype<A>(0);
  const right = changetype<B>(0);
  const result = changetype<Out>(0);
  let i: usize = 0;
  for (; i + 4 <= count; i += 4) {
    result.four(out, i, op.of(left.four(a, i << 2), right.four(b, i << 2)));
  }
  for (; i < count; i++) result.one(out, i, op.of(left.one(a, i << 2), right.one(b, i << 2)));
}

/** Any strides: one lane at a time. */
function scatteredRow<Op, Out>(job: Broadcast, a: usize, b: usize, out: usize, count: usize): void {
  const op = changetype<Op>(0);
  const aStep = job.aInner << 2;
  const bStep = job.bInner << 2;
  for (let i: usize = 0; i < count; i++, a += aStep, b += bStep) {
    changetype<Out>(0).one(out, i, op.of(v128.load32_zero(a), v128.load32_zero(b)));
  }
}

function anyRow<Op, Out>(job: Broadcast, a: usize, b: usize, out: usize, count: usize): void {
  if (job.aInner === 1 && job.bInner === 1) row<Op, Moving, Moving, Out>(a, b, out, count);
  else if (job.aInner === 1 && job.bInner === 0) row<Op, Moving, Fixed, Out>(a, b, out, count);
  else if (job.aInner === 0 && job.bInner === 1) row<Op, Fixed, Moving, Out>(a, b, out, count);
  else scatteredRow<Op, Out>(job, a, b, out, count);
}

/** Output elements chunk * perChunk and on, row by row; the first and the last row of a chunk may be parts. */
function broadcast<Op, Out>(job: Broadcast, chunk: i32): void {
  let at = <usize>chunk * job.perChunk;
  const end = min(at + job.perChunk, job.count);
  const step = changetype<Out>(0).step();
  let column = at % job.inner;
  let middle = (at / job.inner) % job.middle;
  for (let outer = at / job.inner / job.middle; at < end; outer++, middle = 0) {
    const a = job.a + (outerOffset(job, outer, 0) << 2);
    const b = job.b + (outerOffset(job, outer, 1) << 2);
    for (; middle < job.middle && at < end; middle++, column = 0) {
      const count = min(job.inner - column, end - at);
      const aRow = a + ((middle * job.aMiddle + column * job.aInner) << 2);
      const bRow = b + ((middle * job.bMiddle + column * job.bInner) << 2);
      anyRow<Op, Out>(job, aRow, bRow, job.out + at * step, count);
      at += count;
    }
  }
}

/** A kernel whose results are like its operands. */
export function arithmetic<Op>(job: usize, chunk: i32): void {
  broadcast<Op, Words>(changetype<Broadcast>(job), chunk);
}

/** A kernel whose results are masks. */
export function comparison<Op>(job: usize, chunk: i32): void {
  broadcast<Op, Bools>(changetype<Broadcast>(job), chunk);
}
