import { bytes, loadAlternate } from "./floats";

/**
 * How depthwise convolutions read planes. A thread copies some rows of a plane into scratch, with zeros for padding. Tap (i, j) of
 * output (p, q) is then in scratch row p * scaleH + i * stepH:
 *
 *   | slot 0 | slot 1 | ..      a row is `pitch` floats
 *
 * Forward, slot b holds the columns that the taps j with j % slots = b meet, so that they are runs of neighbouring floats whatever
 * the stride. For the gradient of x there is one slot, and dy lies in it with stride - 1 zeros between rows and columns.
 * What is no pixel stays zero from the start of a chunk to its end.
 */
export class RowsPlan {
  /** Of the plane that is read. */
  rows: i32;
  columns: i32;
  /** Row r of the plane is row r * spread + shift of all that scratch holds one block after the other. */
  spread: i32;
  shift: i32;
  scale: i32;
  step: i32;
  pitch: i32;
  /** Columns of a slot are `readStep` apart in the plane and `writeStep` apart in the slot. */
  readStep: i32;
  writeStep: i32;
  slots: i32;
  /** (slots, 3): first column, where it lies in the row, how many; in floats. */
  slotList: usize;
  /** Bytes from the first tap of a row to the other two. */
  tap1: usize;
  tap2: usize;
  outRows: i32;
  outColumns: i32;
  /** What a thread needs of scratch; zero at first. */
  imageBytes: i32;
  /** A block is so many output rows. */
  rowsPerBlock: i32;
  rowBlocks: i32;
  /** Of groups times images; each group has one plane to read and `outs` others. */
  groups: i32;
  outs: i32;
}

/** Whether taps are neighbours on both axes, and outputs too. */
export function isNear(plan: RowsPlan): bool {
  return plan.scale === 1 && plan.step === 1 && plan.tap1 === 4 && plan.tap2 === 8;
}

/** Copies what the outputs of a block meet of the plane at `x`. */
export function copyRows(plan: RowsPlan, x: usize, image: usize, firstOut: i32, outs: i32): void {
  const top = firstOut * plan.scale - plan.shift;
  const rows = (outs - 1) * plan.scale + 2 * plan.step + 1;
  const first = max(0, top + plan.spread - 1) / plan.spread;
  const end = min(plan.rows, (max(-1, top + rows - 1) + plan.spread) / plan.spread);
  if (plan.rowBlocks > 1) {
    const begin = max(0, min(rows, first * plan.spread - top));
    const behind = min(rows, max(begin, (end - 1) * plan.spread - top + 1));
    memory.fill(image, 0, bytes(begin * plan.pitch));
    memory.fill(image + bytes(behind * plan.pitch), 0, bytes((rows - behind) * plan.pitch));
  }
  const count = end - first;
  if (count <= 0) return;
  const from = x + bytes(first * plan.columns);
  const to = image + bytes((first * plan.spread - top) * plan.pitch);
  const isHalved = plan.slots === 2 && plan.readStep === 2;
  if (isHalved && fillHalves(plan, from, to, count)) return;
  for (let b = 0; b < plan.slots; b++) fillSlot(plan, from, to, count, b);
}

/** Both slots of stride 2 in one pass; false, and nothing done, where rows are short. */
function fillHalves(plan: RowsPlan, from: usize, to: usize, rows: i32): bool {
  const isSwapped = load<i32>(plan.slotList, 12) < load<i32>(plan.slotList);
  const even = isSwapped ? plan.slotList + 12 : plan.slotList;
  const odd = isSwapped ? plan.slotList : plan.slotList + 12;
  const pairs = load<i32>(odd, 8);
  if (pairs < 4) return false;
  const length = bytes(pairs);
  const last = length - 16;
  // The one that begins first may hold one column more.
  const endsEven = load<i32>(even, 8) > pairs;
  let x = from + bytes(load<i32>(even));
  let evens = to + bytes(load<i32>(even, 4));
  let odds = to + bytes(load<i32>(odd, 4));
  for (let row = 0; row < rows; row++) {
    for (let i: usize = 0; i < length; i += 16) {
      const at = min(i, last);
      const low = v128.load(x + 2 * at);
      const high = v128.load(x + 2 * at, 16);
      v128.store(evens + at, v128.shuffle<f32>(low, high, 0, 2, 4, 6));
      v128.store(odds + at, v128.shuffle<f32>(low, high, 1, 3, 5, 7));
    }
    if (endsEven) store<f32>(evens + length, load<f32>(x + 2 * length));
    x += bytes(plan.columns);
    evens += bytes(plan.pitch);
    odds += bytes(plan.pitch);
  }
  return true;
}

function fillSlot(plan: RowsPlan, from: usize, to: usize, rows: i32, slot: i32): void {
  const entry = plan.slotList + 12 * slot;
  from += bytes(load<i32>(entry));
  to += bytes(load<i32>(entry, 4));
  const count = load<i32>(entry, 8);
  const fromStep = bytes(plan.columns);
  const toStep = bytes(plan.spread * plan.pitch);
  const isPlain = plan.writeStep === 1 && count >= 4;
  for (let row = 0; row < rows; row++, from += fromStep, to += toStep) {
    if (isPlain && plan.readStep === 1) copyAll(from, to, bytes(count));
    else if (isPlain && plan.readStep === 2) copyHalf(from, to, bytes(count));
    else if (plan.writeStep === 2) spreadTwice(from, to, bytes(count));
    else copySome(from, plan.readStep, to, plan.writeStep, count);
  }
}

/** At least four floats, `length` bytes of them. The vector of the end overlaps the one before it. */
function copyAll(from: usize, to: usize, length: usize): void {
  const last = length - 16;
  let i: usize = 0;
  for (; i + 32 < length; i += 32) {
    const next = v128.load(from + i, 16);
    v128.store(to + i, v128.load(from + i));
    v128.store(to + i, next, 16);
  }
  for (; i < last; i += 16) v128.store(to + i, v128.load(from + i));
  v128.store(to + last, v128.load(from + last));
}

/** Every second float, to `length` bytes. */
function copyHalf(from: usize, to: usize, length: usize): void {
  const last = length - 16;
  for (let i: usize = 0; i < length; i += 16) {
    const at = min(i, last);
    v128.store(to + at, loadAlternate(from + 2 * at));
  }
}

/** `length` bytes, with a zero behind each float but the last. */
function spreadTwice(from: usize, to: usize, length: usize): void {
  let i: usize = 0;
  const zero = f32x4.splat(0);
  for (; i + 16 < length; i += 16, to += 32) {
    const four = v128.load(from + i);
    v128.store(to, v128.shuffle<f32>(four, zero, 0, 4, 1, 5));
    v128.store(to, v128.shuffle<f32>(four, zero, 2, 6, 3, 7), 16);
  }
  for (; i < length; i += 4, to += 8) store<f32>(to, load<f32>(from + i));
}

function copySome(from: usize, readStep: i32, to: usize, writeStep: i32, count: i32): void {
  for (let i = 0; i < count; i++, from += bytes(readStep), to += bytes(writeStep)) {
    store<f32>(to, load<f32>(from));
  }
}
