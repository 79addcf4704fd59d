/** What `evenkeel NAME` runs. */
export interface Command {
  /** One line for the list of commands. */
  readonly summary: string;
  /** Returns the exit code. Throws UsageError for arguments that it does not know. */
  run(args: readonly string[]): Promise<number>;
}
