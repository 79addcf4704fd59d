import { ArgumentError } from "../../core/errors.ts";

/** How a value moves between two others. */
export type AnnealStrategy = "cos" | "linear";

/** Throws ArgumentError unless it is one of the strategies. */
export function checkStrategy(op: string, strategy: AnnealStrategy): void {
  if (strategy === "cos" || strategy === "linear") return;
  throw new ArgumentError({
    op,
    expected: 'annealStrategy "cos" or "linear"',
    actual: JSON.stringify(strategy),
  });
}

/** The value after `part` of the way from `start` to `end`. */
export function anneal(
  strategy: AnnealStrategy,
  way: { readonly start: number; readonly end: number },
  part: number,
): number {
  const { start, end } = way;
  if (strategy === "linear") return (end - start) * part + start;
  return end + ((start - end) / 2) * (Math.cos(Math.PI * part) + 1);
}
