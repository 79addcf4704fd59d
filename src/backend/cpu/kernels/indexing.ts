/** Picking along the middle axis of (outer, length, inner) by an index, and the adjoint. `index` has `picks` in its place. */

class Picking {
  x: usize;
  index: usize;
  out: usize;
  length: usize;
  picks: usize;
  inner: usize;
  /** A unit of work, for gather one row of `inner` picks, for scatterAdd `tile` columns of one outer index. */
  units: usize;
  perChunk: usize;
  tile: usize;
  tiles: usize;
}

/** What an index outside gives: NaN, and 0 in an integer. */
function nothing<T>(): T {
  if (isFloat<T>()) return <T>NaN;
  return <T>0;
}

function gather<T>(job: Picking, chunk: i32): void {
  let row = <usize>chunk * job.perChunk;
  const end = min(row + job.perChunk, job.units);
  for (; row < end; row++) {
    const x = job.x + (row / job.picks) * job.length * job.inner * sizeof<T>();
    const index = job.index + ((row * job.inner) << 2);
    const out = job.out + row * job.inner * sizeof<T>();
    for (let i: usize = 0; i < job.inner; i++) {
      // As an unsigned number a negative index is too large as well.
      const from = load<usize>(index + (i << 2));
      const isInside = from < job.length;
      const value = isInside ? load<T>(x + (from * job.inner + i) * sizeof<T>()) : nothing<T>();
      store<T>(out + i * sizeof<T>(), value);
    }
  }
}

export function gatherFloat(job: Picking, chunk: i32, thread: i32): void {
  gather<f32>(job, chunk);
}

export function gatherInt(job: Picking, chunk: i32, thread: i32): void {
  gather<i32>(job, chunk);
}

export function gatherDouble(job: Picking, chunk: i32, thread: i32): void {
  gather<f64>(job, chunk);
}

export function gatherByte(job: Picking, chunk: i32, thread: i32): void {
  gather<u8>(job, chunk);
}

function scatterAdd<T>(job: Picking, chunk: i32): void {
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const outer = unit / job.tiles;
    const column = (unit % job.tiles) * job.tile;
    const last = min(column + job.tile, job.inner);
    const sum = job.out + ((outer * job.length * job.inner) << 2);
    for (let p: usize = 0; p < job.picks; p++) {
      const row = (outer * job.picks + p) * job.inner;
      for (let i = column; i < last; i++) {
        const to = load<usize>(job.index + ((row + i) << 2));
        if (to >= job.length) continue;
        const at = sum + ((to * job.inner + i) << 2);
        store<T>(at, load<T>(at) + load<T>(job.x + ((row + i) << 2)));
      }
    }
  }
}

export function scatterAddFloat(job: Picking, chunk: i32, thread: i32): void {
  scatterAdd<f32>(job, chunk);
}

export function scatterAddInt(job: Picking, chunk: i32, thread: i32): void {
  scatterAdd<i32>(job, chunk);
}
