// The limits that every other figure is held against: AssemblyScript, compiled by limits.ts when the bench starts.

/** Copies memory with the engine's own memmove. */
export function copy(from: usize, to: usize, bytes: usize): void {
  memory.copy(to, from, bytes);
}

/** `steps` times twelve multiply-adds of four floats, which wait for nothing but their own sums. */
export function peak(steps: i32, seed: f32): f32 {
  const x = f32x4.splat(seed);
  let a0 = x, a1 = x, a2 = x, a3 = x, a4 = x, a5 = x, a6 = x, a7 = x, a8 = x, a9 = x, a10 = x, a11 = x;
  for (let i = 0; i < steps; i++) {
    a0 = f32x4.relaxed_madd(a0, x, x);
    a1 = f32x4.relaxed_madd(a1, x, x);
    a2 = f32x4.relaxed_madd(a2, x, x);
    a3 = f32x4.relaxed_madd(a3, x, x);
    a4 = f32x4.relaxed_madd(a4, x, x);
    a5 = f32x4.relaxed_madd(a5, x, x);
    a6 = f32x4.relaxed_madd(a6, x, x);
    a7 = f32x4.relaxed_madd(a7, x, x);
    a8 = f32x4.relaxed_madd(a8, x, x);
    a9 = f32x4.relaxed_madd(a9, x, x);
    a10 = f32x4.relaxed_madd(a10, x, x);
    a11 = f32x4.relaxed_madd(a11, x, x);
  }
  const s0 = f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3));
  const s1 = f32x4.add(f32x4.add(a4, a5), f32x4.add(a6, a7));
  const s2 = f32x4.add(f32x4.add(a8, a9), f32x4.add(a10, a11));
  return f32x4.extract_lane(f32x4.add(f32x4.add(s0, s1), s2), 0);
}
