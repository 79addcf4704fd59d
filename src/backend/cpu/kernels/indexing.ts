/**
 * Picking along the middle axis of (outer, length, inner) by an index, and the adjoint. The other side has `picks` in its place, and so
 * has the index of gather and scatterAdd; that of indexSelect and indexAdd is (picks).
 */

class Picking {
  x: usize;
  index: usize;
  out: usize;
  length: usize;
  picks: usize;
  inner: usize;
  /**
   * Units of work: of gather one row of `inner` picks, of indexSelect `tile` columns of one, and of the adding ones `tile` columns
   * of one outer index, with all its picks, which must be added in order.
   */
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

function indexSelect<T>(job: Picking, chunk: i32): void {
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const row = unit / job.tiles;
    const column = (unit % job.tiles) * job.tile;
    const count = min(job.tile, job.inner - column);
    const from = load<usize>(job.index + ((row % job.picks) << 2));
    const out = job.out + (row * job.inner + column) * sizeof<T>();
    const start = ((row / job.picks) * job.length + from) * job.inner + column;
    copyPicked<T>(job.x + start * sizeof<T>(), out, count, from < job.length);
  }
}

function copyPicked<T>(x: usize, out: usize, count: usize, isInside: bool): void {
  if (!isInside) {
    for (let i: usize = 0; i < count; i++) store<T>(out + i * sizeof<T>(), nothing<T>());
  } else if (count === 1) {
    store<T>(out, load<T>(x));
  } else {
    memory.copy(out, x, count * sizeof<T>());
  }
}

export function indexSelectFloat(job: Picking, chunk: i32, thread: i32): void {
  indexSelect<f32>(job, chunk);
}

export function indexSelectInt(job: Picking, chunk: i32, thread: i32): void {
  indexSelect<i32>(job, chunk);
}

export function indexSelectDouble(job: Picking, chunk: i32, thread: i32): void {
  indexSelect<f64>(job, chunk);
}

export function indexSelectByte(job: Picking, chunk: i32, thread: i32): void {
  indexSelect<u8>(job, chunk);
}

function indexAdd<T>(job: Picking, chunk: i32): void {
  let unit = <usize>chunk * job.perChunk;
  const end = min(unit + job.perChunk, job.units);
  for (; unit < end; unit++) {
    const outer = unit / job.tiles;
    const column = (unit % job.tiles) * job.tile;
    const count = min(job.tile, job.inner - column);
    const sum = job.out + ((outer * job.length * job.inner + column) << 2);
    const x = job.x + ((outer * job.picks * job.inner + column) << 2);
    for (let p: usize = 0; p < job.picks; p++) {
      const to = load<usize>(job.index + (p << 2));
      if (to >= job.length) continue;
      addPicked<T>(x + ((p * job.inner) << 2), sum + ((to * job.inner) << 2), count);
    }
  }
}

function addPicked<T>(x: usize, sum: usize, count: usize): void {
  const end = sum + (count << 2);
  for (; sum + 16 <= end; sum += 16, x += 16) {
    v128.store(sum, v128.add<T>(v128.load(sum), v128.load(x)));
  }
  for (; sum < end; sum += 4, x += 4) store<T>(sum, load<T>(sum) + load<T>(x));
}

export function indexAddFloat(job: Picking, chunk: i32, thread: i32): void {
  indexAdd<f32>(job, chunk);
}

export function indexAddInt(job: Picking, chunk: i32, thread: i32): void {
  indexAdd<i32>(job, chunk);
}
