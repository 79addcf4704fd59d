/**
 * B' d B of Winograd's F(2x2, 3x3) for four tiles side by side. d is the 4 x 4 inputs of a tile, whose rows, and whose columns,
 * lie in the phases of the image by turns: phases `plane` bytes, rows `pitch` bytes apart. Its 16 elements go `next` bytes apart.
 */
export function transformInput(
  d0: usize,
  plane: usize,
  pitch: usize,
  to: usize,
  next: usize,
): void {
  const d1 = d0 + 2 * plane;
  const d2 = d0 + pitch;
  const d3 = d1 + pitch;
  transformRow(
    f32x4.sub(v128.load(d0), v128.load(d2)),
    f32x4.sub(v128.load(d0 + plane), v128.load(d2 + plane)),
    f32x4.sub(v128.load(d0, 4), v128.load(d2, 4)),
    f32x4.sub(v128.load(d0 + plane, 4), v128.load(d2 + plane, 4)),
    to,
    next,
  );
  transformRow(
    f32x4.add(v128.load(d1), v128.load(d2)),
    f32x4.add(v128.load(d1 + plane), v128.load(d2 + plane)),
    f32x4.add(v128.load(d1, 4), v128.load(d2, 4)),
    f32x4.add(v128.load(d1 + plane, 4), v128.load(d2 + plane, 4)),
    to + 4 * next,
    next,
  );
  transformRow(
    f32x4.sub(v128.load(d2), v128.load(d1)),
    f32x4.sub(v128.load(d2 + plane), v128.load(d1 + plane)),
    f32x4.sub(v128.load(d2, 4), v128.load(d1, 4)),
    f32x4.sub(v128.load(d2 + plane, 4), v128.load(d1 + plane, 4)),
    to + 8 * next,
    next,
  );
  transformRow(
    f32x4.sub(v128.load(d1), v128.load(d3)),
    f32x4.sub(v128.load(d1 + plane), v128.load(d3 + plane)),
    f32x4.sub(v128.load(d1, 4), v128.load(d3, 4)),
    f32x4.sub(v128.load(d1 + plane, 4), v128.load(d3 + plane, 4)),
    to + 12 * next,
    next,
  );
}

/** One row of B' d, times B. */
function transformRow(a: v128, b: v128, c: v128, d: v128, to: usize, next: usize): void {
  v128.store(to, f32x4.sub(a, c));
  v128.store(to + next, f32x4.add(b, c));
  v128.store(to + 2 * next, f32x4.sub(c, b));
  v128.store(to + 3 * next, f32x4.sub(b, d));
}
