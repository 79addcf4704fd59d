import { recompute as runRecomputed } from "../tensor/recompute.ts";

/**
 * Runs `fn(...args)` and keeps only `args` for backward, which runs `fn` again to get back what it needs: memory for time, as
 * `torch.utils.checkpoint` (activation checkpointing). `fn` may be a module.
 *
 * The gradients are those of a plain call, bit for bit. The second run repeats the draws of dropout and the modes that modules had,
 * and moves nothing: running statistics and counters of batch norm move once. Hooks run again. Pass every tensor that `fn` uses and that is no parameter or buffer as an argument, arrays of tensors included: others
 * may have ended when it runs again. Under `noGrad` it is a plain call.
 *
 * Unlike PyTorch: there running statistics move twice.
 * Throws: AutogradError in backward if an argument was overwritten since, or if the second run makes other tensors than the first;
 * LifetimeError if `fn` returns a promise.
 *
 * @example
 * const y = nn.recompute(block, x);
 */
export function recompute<Args extends readonly unknown[], Result>(
  fn: (...args: Args) => Result,
  ...args: Args
): Result {
  if (typeof fn !== "function") {
    throw new TypeError(`recompute: expected a function or a module, got ${typeof fn}`);
  }
  return runRecomputed(fn, args);
}
