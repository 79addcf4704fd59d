/** A mistake in what was typed or in a file that was named: one sentence, exit code 2. */
export class UsageError extends Error {
  override name = "UsageError";
}
