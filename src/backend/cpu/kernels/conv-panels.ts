import { bytes } from "./floats";

/**
 * Packs what eight taps meet at the pixels of `rows` rows, `pitch` floats apart, as [pixel][tap]. Tap t of a pixel lies
 * offsets[t] bytes from it.
 */
export function packTaps(
  image: usize,
  offsets: usize,
  rows: i32,
  columns: i32,
  pitch: i32,
  to: usize,
): void {
  for (let row = 0; row < rows; row++) {
    packFour(image, offsets, columns, to);
    packFour(image, offsets + 16, columns, to + 16);
    image += bytes(pitch);
    to += bytes(8 * columns);
  }
}

/** Four pixels at a time; the last four overlap those before. */
function packFour(pixels: usize, offsets: usize, columns: i32, to: usize): void {
  const a = pixels + load<usize>(offsets);
  const b = pixels + load<usize>(offsets, 4);
  const c = pixels + load<usize>(offsets, 8);
  const d = pixels + load<usize>(offsets, 12);
  if (columns < 4) {
    for (let at: usize = 0; at < bytes(columns); at += 4, to += 32) {
      store<f32>(to, load<f32>(a + at));
      store<f32>(to, load<f32>(b + at), 4);
      store<f32>(to, load<f32>(c + at), 8);
      store<f32>(to, load<f32>(d + at), 12);
    }
    return;
  }
  const last = bytes(columns - 4);
  for (let at: usize = 0; ; at += 16) {
    at = min(at, last);
    transposeRows(a + at, b + at, c + at, d + at, to + 8 * at);
    if (at === last) break;
  }
}

/** Transposes four rows of four floats into steps of 32 bytes. */
function transposeRows(a: usize, b: usize, c: usize, d: usize, to: usize): void {
  const v0 = v128.load(a);
  const v1 = v128.load(b);
  const v2 = v128.load(c);
  const v3 = v128.load(d);
  const low01 = v128.shuffle<f32>(v0, v1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(v0, v1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(v2, v3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(v2, v3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(to, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7), 32);
  v128.store(to, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5), 64);
  v128.store(to, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7), 96);
}

/**
 * Packs what eight pixels meet at `places` places as [place][pixel]. Pixels are numbered through `rows` rows of `columns` in each
 * image; place t of a pixel lies offsets[t] bytes from it. Pixels behind the last one are anything.
 */
export function packPixels(
  images: usize,
  imageStep: usize,
  pitch: usize,
  rows: i32,
  columns: i32,
  pixel: i32,
  pixels: i32,
  offsets: usize,
  places: i32,
  to: usize,
): void {
  const row = pixel / columns;
  const column = pixel - row * columns;
  const run = columns - column;
  const here = placeOf(images, imageStep, pitch, rows, row) + bytes(column);
  if (run >= 8 || pixel + run >= pixels) packRun(here, offsets, places, to);
  else if (columns >= 8 - run) {
    const next = placeOf(images, imageStep, pitch, rows, row + 1);
    packTwoRuns(here, next - bytes(run), run, offsets, places, to);
  } else {
    for (let lane = 0; lane < 8; lane++, to += 4) {
      const p = min(pixel + lane, pixels - 1);
      const at = placeOf(images, imageStep, pitch, rows, p / columns) + bytes(p % columns);
      packPixel(at, offsets, places, to);
    }
  }
}

/** The first pixel of a row, of which each image has `rows`. */
function placeOf(images: usize, imageStep: usize, pitch: usize, rows: i32, row: i32): usize {
  const image = row / rows;
  return images + <usize>image * imageStep + <usize>(row - image * rows) * pitch;
}

function packRun(pixels: usize, offsets: usize, places: i32, to: usize): void {
  for (const end = offsets + bytes(places); offsets < end; offsets += 4, to += 32) {
    const from = pixels + load<usize>(offsets);
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
  }
}

/** The first `run` pixels from one address, the others from what follows another; four of them lie side by side. */
function packTwoRuns(
  first: usize,
  second: usize,
  run: i32,
  offsets: usize,
  places: i32,
  to: usize,
): void {
  const end = offsets + bytes(places);
  const isFirst = i32x4.gt_s(i32x4.splat(run & 3), i32x4(0, 1, 2, 3));
  if (run >= 4) {
    for (; offsets < end; offsets += 4, to += 32) {
      const a = first + load<usize>(offsets);
      const b = second + load<usize>(offsets);
      v128.store(to, v128.load(a));
      v128.store(to, v128.bitselect(v128.load(a, 16), v128.load(b, 16), isFirst), 16);
    }
  } else {
    for (; offsets < end; offsets += 4, to += 32) {
      const a = first + load<usize>(offsets);
      const b = second + load<usize>(offsets);
      v128.store(to, v128.bitselect(v128.load(a), v128.load(b), isFirst));
      v128.store(to, v128.load(b, 16), 16);
    }
  }
}

function packPixel(pixel: usize, offsets: usize, places: i32, to: usize): void {
  for (const end = offsets + bytes(places); offsets < end; offsets += 4, to += 32) {
    store<f32>(to, load<f32>(pixel + load<usize>(offsets)));
  }
}
