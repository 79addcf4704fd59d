/**
 * Loops over contiguous operands of four-byte elements. Each operation is a class with one formula on four lanes, as in
 * broadcast.ts.
 */

class Elements {
  a: usize;
  b: usize;
  out: usize;
  count: usize;
  perChunk: usize;
  alpha: f32;
}

/** out = op(a) for this chunk's share of the elements. */
export function map<Op>(words: usize, chunk: i32): void {
  const job = changetype<Elements>(words);
  const op = changetype<Op>(0);
  const a = job.a;
  const out = job.out;
  const alpha = f32x4.splat(job.alpha);
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let i = first << 2;
  for (; i + 16 <= end; i += 16) v128.store(out + i, op.of(v128.load(a + i), alpha));
  for (; i < end; i += 4) v128.store32_lane(out + i, op.of(v128.load32_zero(a + i), alpha), 0);
}

/** out = op(a, b) likewise; out may be one of the two. */
export function zip<Op>(words: usize, chunk: i32): void {
  const job = changetype<Elements>(words);
  const op = changetype<Op>(0);
  const a = job.a;
  const b = job.b;
  const out = job.out;
  const alpha = f32x4.splat(job.alpha);
  const first = <usize>chunk * job.perChunk;
  const end = min(first + job.perChunk, job.count) << 2;
  let i = first << 2;
  for (; i + 16 <= end; i += 16) {
    v128.store(out + i, op.of(v128.load(a + i), v128.load(b + i), alpha));
  }
  for (; i < end; i += 4) {
    const y = op.of(v128.load32_zero(a + i), v128.load32_zero(b + i), alpha);
    v128.store32_lane(out + i, y, 0);
  }
}
