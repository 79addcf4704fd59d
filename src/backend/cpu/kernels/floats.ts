/** Bytes of that many floats. */
export function bytes(floats: i32): usize {
  return (<usize>floats) << 2;
}

/** Every second float of the seven from `at` on. */
export function loadAlternate(at: usize): v128 {
  return v128.shuffle<f32>(v128.load(at), v128.load(at, 12), 0, 2, 5, 7);
}

/** Copies `count` floats, every `step`-th of the source. Vectors at the end overlap. */
export function copyEvery(from: usize, step: i32, to: usize, count: i32): void {
  const end = to + bytes(count);
  if (count >= 4 && step <= 2) {
    const last = bytes(count - 4);
    if (step === 1) {
      for (let at: usize = 0; at < last; at += 16) v128.store(to + at, v128.load(from + at));
      v128.store(to + last, v128.load(from + last));
    } else {
      for (let at: usize = 0; at < last; at += 16)
        v128.store(to + at, loadAlternate(from + 2 * at));
      v128.store(to + last, loadAlternate(from + 2 * last));
    }
    return;
  }
  for (; to < end; to += 4, from += bytes(step)) store<f32>(to, load<f32>(from));
}
