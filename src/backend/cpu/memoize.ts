/** Plans that kernels' hosts make of shapes: a training step asks for the same ones over and over. */
import type { Conv2dLayout } from "../backend.ts";

/** Plans kept of each kind: several times the different layers of a deep network, some megabytes at most. */
const mostPlans = 128;

interface Known<Plan> {
  readonly key: readonly number[];
  readonly plan: Plan;
}

/**
 * `make`, which must depend on nothing but the numbers of `keyOf`, remembering what it made: the same object for the same numbers, so
 * nobody may write to it. When there are too many it forgets all.
 */
export function memoize<Args extends readonly unknown[], Plan>(
  keyOf: (...args: Args) => readonly number[],
  make: (...args: Args) => Plan,
): (...args: Args) => Plan {
  const plans = new Map<number, Known<Plan>>();
  return (...args) => {
    const key = keyOf(...args);
    const hash = hashOf(key);
    const known = plans.get(hash);
    if (known !== undefined && isSame(known.key, key)) return known.plan;
    const plan = make(...args);
    if (plans.size === mostPlans) plans.clear();
    plans.set(hash, { key, plan });
    return plan;
  };
}

/** The numbers of a layout. */
export function layoutKey(layout: Conv2dLayout): number[] {
  const { N, C, K, groups, H, W, outH, outW } = layout;
  const { kernelH, kernelW, strideH, strideW } = layout;
  const { paddingH, paddingW, dilationH, dilationW } = layout;
  const key = [N, C, K, groups, H, W, outH, outW, kernelH, kernelW, strideH, strideW];
  key.push(paddingH, paddingW, dilationH, dilationW);
  return key;
}

function hashOf(key: readonly number[]): number {
  let hash = key.length;
  for (let i = 0; i < key.length; i++) hash = (Math.imul(hash, 31) + key[i]) | 0;
  return hash;
}

function isSame(a: readonly number[], b: readonly number[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
