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
