/** The nine taps of four kernels of 3 x 3 floats, as [tap][kernel]. */
export function storeTaps(g0: usize, g1: usize, g2: usize, g3: usize, to: usize): void {
  storeFourTaps(g0, g1, g2, g3, to);
  storeFourTaps(g0 + 16, g1 + 16, g2 + 16, g3 + 16, to + 64);
  let last = v128.load32_zero(g0, 32);
  last = v128.load32_lane(g1, last, 1, 32);
  last = v128.load32_lane(g2, last, 2, 32);
  v128.store(to, v128.load32_lane(g3, last, 3, 32), 128);
}

/** Four taps of each. */
export function storeFourTaps(g0: usize, g1: usize, g2: usize, g3: usize, to: usize): void {
  const r0 = v128.load(g0);
  const r1 = v128.load(g1);
  const r2 = v128.load(g2);
  const r3 = v128.load(g3);
  const even01 = v128.shuffle<f32>(r0, r1, 0, 4, 2, 6);
  const odd01 = v128.shuffle<f32>(r0, r1, 1, 5, 3, 7);
  const even23 = v128.shuffle<f32>(r2, r3, 0, 4, 2, 6);
  const odd23 = v128.shuffle<f32>(r2, r3, 1, 5, 3, 7);
  v128.store(to, v128.shuffle<f32>(even01, even23, 0, 1, 4, 5));
  v128.store(to, v128.shuffle<f32>(odd01, odd23, 0, 1, 4, 5), 16);
  v128.store(to, v128.shuffle<f32>(even01, even23, 2, 3, 6, 7), 32);
  v128.store(to, v128.shuffle<f32>(odd01, odd23, 2, 3, 6, 7), 48);
}

/** `count` kernels, at most four, one behind the other, from [tap][kernel]. */
export function storeKernels(taps: usize, kernels: usize, count: i32): void {
  if (count >= 4) {
    storeFours(taps, kernels);
    storeFours(taps + 64, kernels + 16);
    for (let i: usize = 0; i < 4; i++) {
      store<f32>(kernels + 36 * i, load<f32>(taps + 4 * i, 128), 32);
    }
    return;
  }
  for (let i = 0; i < count; i++, kernels += 36) {
    for (let tap: usize = 0; tap < 9; tap++) {
      store<f32>(kernels + 4 * tap, load<f32>(taps + 16 * tap + ((<usize>i) << 2)));
    }
  }
}

/** Four taps of four kernels. */
function storeFours(taps: usize, kernels: usize): void {
  const t0 = v128.load(taps);
  const t1 = v128.load(taps, 16);
  const t2 = v128.load(taps, 32);
  const t3 = v128.load(taps, 48);
  const low01 = v128.shuffle<f32>(t0, t1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(t0, t1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(t2, t3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(t2, t3, 2, 6, 3, 7);
  v128.store(kernels, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(kernels, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7), 36);
  v128.store(kernels, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5), 72);
  v128.store(kernels, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7), 108);
}

/** From [column][tile] to the columns of each tile. */
export function storeColumns(from: usize, y0: usize, y1: usize, y2: usize, y3: usize): void {
  const r0 = v128.load(from);
  const r1 = v128.load(from, 16);
  const r2 = v128.load(from, 32);
  const r3 = v128.load(from, 48);
  const low01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
  const high01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
  const low23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
  const high23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
  v128.store(y0, v128.shuffle<f32>(low01, low23, 0, 1, 4, 5));
  v128.store(y1, v128.shuffle<f32>(low01, low23, 2, 3, 6, 7));
  v128.store(y2, v128.shuffle<f32>(high01, high23, 0, 1, 4, 5));
  v128.store(y3, v128.shuffle<f32>(high01, high23, 2, 3, 6, 7));
}
