import { nn, where } from "../src/index.ts";
import { testOperations } from "./support/op-fixtures.ts";

const { functional } = nn;

/** Every option that some case has; a case has those of its operation. */
interface Options {
  readonly approximate: "none" | "tanh";
  readonly beta: number;
  readonly threshold: number;
  readonly other: string;
  readonly min: number | null;
  readonly max: number | null;
  readonly axis: number;
  readonly axes: readonly number[] | null;
  readonly keepdim: boolean;
  readonly unbiased: boolean;
}

/** As Python prints a float. */
function parsed(text: string): number {
  return Number(text.replace("inf", "Infinity"));
}

testOperations<Options>("activations", {
  relu6: ({ x }) => x.relu6(),
  silu: ({ x }) => x.silu(),
  gelu: ({ x }, { approximate }) => x.gelu({ approximate }),
  softplus: ({ x }, { beta, threshold }) => functional.softplus(x, { beta, threshold }),
  where: ({ condition, a, b }) => where(condition.to("bool"), a, b),
  whereNumber: ({ condition, x }, { other }) => x.where(condition.to("bool"), parsed(other)),
  numberWhere: ({ condition, x }, { other }) => where(condition.to("bool"), parsed(other), x),
  clamp: ({ x }, { min, max }) => x.clamp({ min: min ?? undefined, max: max ?? undefined }),
  min: ({ x }, { axis }) => x.min(axis),
  argmin: ({ x }, { axis }) => x.argmin(axis),
  minOfAll: ({ x }) => x.min(),
  argminOfAll: ({ x }) => x.argmin(),
  std: ({ x }, { axes, keepdim, unbiased }) => x.std(axes ?? undefined, { keepdim, unbiased }),
  rsqrt: ({ x }) => x.rsqrt(),
});
