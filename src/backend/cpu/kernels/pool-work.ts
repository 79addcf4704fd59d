import { bytes, loadAlternate } from "./floats";

/** One axis of the windows; what its numbers mean stands at `PoolAxis` in ../../backend.ts. */
export class Axis {
  size: i32;
  out: i32;
  kernel: i32;
  stride: i32;
  padding: i32;
  dilation: i32;
  isAdaptive: i32;

  /** First position of window i in x; not before `end` if the window steps over all of x. */
  first(i: i32): i32 {
    // Through 64 bits: a product of two sizes may be more than 32 hold.
    if (this.isAdaptive) return <i32>((<i64>i * this.size) / this.out);
    const start = i * this.stride - this.padding;
    if (start >= 0) return start;
    return start + ((this.dilation - 1 - start) / this.dilation) * this.dilation;
  }

  /** Behind the last position of window i in x. */
  end(i: i32): i32 {
    if (this.isAdaptive) {
      return <i32>(((<i64>i + 1) * this.size + this.out - 1) / this.out);
    }
    return min(i * this.stride - this.padding + this.reach(), this.size);
  }

  /** From one position of a window to the next. */
  step(): i32 {
    return this.isAdaptive ? 1 : this.dilation;
  }

  /** Positions of window i in x, padding left out; for a dilation of 1. */
  inside(i: i32): i32 {
    return this.end(i) - this.first(i);
  }

  /** Positions of window i in the padded axis; for a dilation of 1. */
  padded(i: i32): i32 {
    if (this.isAdaptive) return this.inside(i);
    return min(this.kernel, this.size + 2 * this.padding - i * this.stride);
  }

  /** Windows from this one to before `endOfInner` lie inside x and are a stride apart; adaptive ones do not count. */
  firstInner(): i32 {
    return this.isAdaptive ? 0 : (this.padding + this.stride - 1) / this.stride;
  }

  endOfInner(): i32 {
    if (this.isAdaptive) return 0;
    const behind = (this.size + this.padding - this.reach() + this.stride) / this.stride;
    return min(behind, this.out);
  }

  /** True if the axis is one window without padding. */
  isWhole(): bool {
    if (this.isAdaptive) return this.out === 1;
    return this.out === 1 && this.padding === 0 && this.reach() >= this.size && this.step() === 1;
  }

  /** Positions that a window spans. */
  reach(): i32 {
    return (this.kernel - 1) * this.dilation + 1;
  }
}

/** Pooling of planes, written by the host (../pool.ts) as 32-bit words in the order of the fields; the three axes follow. */
export class Pooling {
  planes: i32;
  planesPerChunk: i32;
  /** x, or its gradient. */
  x: usize;
  /** y, or its gradient. */
  y: usize;
  /** int32, for maxima. */
  indices: usize;
  /** What averages divide by; 0 for the number of positions in a window. */
  divisor: i32;
  /** Whether that number counts the padding. */
  countsPadding: i32;

  depth(): Axis {
    return this.axis(0);
  }

  height(): Axis {
    return this.axis(1);
  }

  width(): Axis {
    return this.axis(2);
  }

  axis(index: usize): Axis {
    return changetype<Axis>(
      changetype<usize>(this) + offsetof<Pooling>() + index * offsetof<Axis>(),
    );
  }

  /** True if each plane is one window, and that all of the plane. */
  isGlobal(): bool {
    return this.depth().isWhole() && this.height().isWhole() && this.width().isWhole();
  }

  end(chunk: i32): i32 {
    return min((chunk + 1) * this.planesPerChunk, this.planes);
  }

  /** Elements of a plane of x. */
  planeSize(): i32 {
    return this.depth().size * this.height().size * this.width().size;
  }

  xPlane(plane: i32): usize {
    return this.x + bytes(plane * this.planeSize());
  }

  /** Bytes from the start of y, and of indices, to row h of depth d of a plane. */
  outRow(plane: i32, d: i32, h: i32): usize {
    const rows = (plane * this.depth().out + d) * this.height().out + h;
    return bytes(rows * this.width().out);
  }

  /** Position in the plane of the first element of row h of depth d. */
  row(d: i32, h: i32): i32 {
    return (d * this.height().size + h) * this.width().size;
  }

  /** What the sum of window (d, h, w) is divided by. */
  divisorOf(d: i32, h: i32, w: i32): f64 {
    if (this.divisor !== 0) return <f64>this.divisor;
    if (this.countsPadding) {
      const rows = <f64>this.depth().padded(d) * <f64>this.height().padded(h);
      return rows * <f64>this.width().padded(w);
    }
    const rows = this.depth().inside(d) * this.height().inside(h);
    return <f64>rows * <f64>this.width().inside(w);
  }
}

/** Four floats, each so many bytes behind the one before: one class for each way to load them, chosen before a loop. */
export class Adjacent {
  four(at: usize, _step: usize): v128 {
    return v128.load(at);
  }
}

export class Alternate {
  four(at: usize, _step: usize): v128 {
    return loadAlternate(at);
  }
}

export class Spaced {
  four(at: usize, step: usize): v128 {
    let four = v128.load32_zero(at);
    four = v128.load32_lane(at + step, four, 1);
    four = v128.load32_lane(at + 2 * step, four, 2);
    return v128.load32_lane(at + 3 * step, four, 3);
  }
}
