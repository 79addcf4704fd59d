import { bytes } from "./floats";

/**
 * A convolution of 7 x 7 and stride 2 is one of 4 x 4 and stride 1 over four images: the even and the odd rows of x, of each
 * the even and the odd columns, and so of the kernel, whose last phase is a tap short (../conv-phases.ts).
 *
 *   phases   [image][channel][row phase][column phase][row][column]
 *   weights  [output channel][channel][row phase][column phase][4][4]
 */

/** The four phases of one plane, with its padding. */
export function convPhases(
  x: usize,
  H: i32,
  W: i32,
  paddingH: i32,
  paddingW: i32,
  phases: usize,
  rows: i32,
  columns: i32,
  chunk: i32,
  _thread: i32,
): void {
  x += bytes(chunk * H * W);
  phases += bytes(4 * chunk * rows * columns);
  for (let phase = 0; phase < 2; phase++) {
    for (let row = 0; row < rows; row++, phases += bytes(columns)) {
      const h = 2 * row + phase - paddingH;
      const odd = phases + bytes(rows * columns);
      if (<u32>h >= <u32>H) {
        memory.fill(phases, 0, bytes(columns));
        memory.fill(odd, 0, bytes(columns));
      } else {
        splitRow(x + bytes(h * W), W, paddingW, phases, odd, columns);
      }
    }
    phases += bytes(rows * columns);
  }
}

/** The even and the odd places of a row that begins with `padding` zeros; behind its end there are zeros too. */
function splitRow(row: usize, W: i32, padding: i32, even: usize, odd: usize, columns: i32): void {
  let column = 0;
  for (const whole = (padding + 1) >> 1; column < min(whole, columns); column++) {
    storePair(row, W, padding, even, odd, column);
  }
  for (const end = min(columns, (W + padding) >> 1); column + 4 <= end; column += 4) {
    const at = row + bytes(2 * column - padding);
    const low = v128.load(at);
    const high = v128.load(at, 16);
    v128.store(even + bytes(column), v128.shuffle<f32>(low, high, 0, 2, 4, 6));
    v128.store(odd + bytes(column), v128.shuffle<f32>(low, high, 1, 3, 5, 7));
  }
  for (; column < columns; column++) storePair(row, W, padding, even, odd, column);
}

function storePair(row: usize, W: i32, padding: i32, even: usize, odd: usize, column: i32): void {
  const at = 2 * column - padding;
  store<f32>(even + bytes(column), <u32>at < <u32>W ? load<f32>(row + bytes(at)) : 0);
  store<f32>(odd + bytes(column), <u32>(at + 1) < <u32>W ? load<f32>(row + bytes(at + 1)) : 0);
}

/** The phases of `count` kernels of 7 x 7 floats. */
export function convPhaseWeights(
  weight: usize,
  count: i32,
  phases: usize,
  _chunk: i32,
  _thread: i32,
): void {
  memory.fill(phases, 0, bytes(64 * count));
  for (let i = 0; i < count; i++, weight += bytes(49), phases += bytes(64)) {
    for (let tap = 0; tap < 49; tap++) {
      store<f32>(phases + bytes(placeOf(tap)), load<f32>(weight + bytes(tap)));
    }
  }
}

/** And back. */
export function convJoinWeights(
  phases: usize,
  count: i32,
  weight: usize,
  _chunk: i32,
  _thread: i32,
): void {
  for (let i = 0; i < count; i++, weight += bytes(49), phases += bytes(64)) {
    for (let tap = 0; tap < 49; tap++) {
      store<f32>(weight + bytes(tap), load<f32>(phases + bytes(placeOf(tap))));
    }
  }
}

/** Where a tap of 7 x 7 is among its phases. */
function placeOf(tap: i32): i32 {
  const row = tap / 7;
  const column = tap % 7;
  const phase = 2 * (row & 1) + (column & 1);
  return 16 * phase + 4 * (row >> 1) + (column >> 1);
}
