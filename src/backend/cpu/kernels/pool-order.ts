/** How a maximum so far, and its position, give way to a candidate that lies behind it: four at a time, one class for each rule. */

/** Where there is no NaN: the first of equals stays, zeros of both signs included. */
export class Ordered {
  isBetter(values: v128, best: v128): v128 {
    return f32x4.gt(values, best);
  }

  best(values: v128, best: v128, _isBetter: v128): v128 {
    return f32x4.pmax(best, values);
  }

  position(position: v128, best: v128, isBetter: v128): v128 {
    // Positions grow.
    return i32x4.max_s(best, v128.and(position, isBetter));
  }

  /** NaN if there was one; also for infinities of both signs, which is harmless. */
  sum(values: v128, sum: v128): v128 {
    return f32x4.add(sum, values);
  }
}

/** Where there may be NaN: the last one stays. */
export class WithNaN {
  isBetter(values: v128, best: v128): v128 {
    return v128.or(f32x4.gt(values, best), f32x4.ne(values, values));
  }

  best(values: v128, best: v128, isBetter: v128): v128 {
    return v128.bitselect(values, best, isBetter);
  }

  position(position: v128, best: v128, isBetter: v128): v128 {
    return v128.bitselect(position, best, isBetter);
  }

  sum(_values: v128, sum: v128): v128 {
    return sum;
  }
}
