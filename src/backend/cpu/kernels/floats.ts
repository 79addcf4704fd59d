/** Bytes of that many floats. */
export function bytes(floats: i32): usize {
  return (<usize>floats) << 2;
}

/** Every second float of the seven from `at` on. */
export function loadAlternate(at: usize): v128 {
  return v128.shuffle<f32>(v128.load(at), v128.load(at, 12), 0, 2, 5, 7);
}

/** Copies `count` floats, every `step`-th of the source. */
export function copyEvery(from: usize, step: i32, to: usize, count: i32): void {
  const end = to + bytes(count);
  if (step === 1) {
    for (; to + 16 <= end; to += 16, from += 16) v128.store(to, v128.load(from));
  } else if (step === 2) {
    for (; to + 16 <= end; to += 16, from += 32) v128.store(to, loadAlternate(from));
  }
  for (; to < end; to += 4, from += bytes(step)) store<f32>(to, load<f32>(from));
}
