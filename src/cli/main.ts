#!/usr/bin/env node
/** The command line: `evenkeel COMMAND ...`. One file per command; results go to standard output, mistakes to standard error. */
import { EvenkeelError } from "../core/errors.ts";
import type { Command } from "./command.ts";
import { replayCommand } from "./replay.ts";
import { UsageError } from "./usage-error.ts";

const commands: Readonly<Record<string, Command>> = { replay: replayCommand };

const help = `Usage: evenkeel COMMAND ...

Commands:
${Object.entries(commands)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join("\n")}

evenkeel COMMAND --help says more.
`;

async function main([name, ...args]: readonly string[]): Promise<number> {
  if (name === "--help" || name === "-h") {
    process.stdout.write(help);
    return 0;
  }
  const command = Object.hasOwn(commands, name ?? "") ? commands[name] : undefined;
  if (command !== undefined) return command.run(args);
  const known = Object.keys(commands).join(", ");
  throw new UsageError(
    name === undefined
      ? `expected a command: ${known}; see evenkeel --help`
      : `expected a command (${known}), got ${name}; see evenkeel --help`,
  );
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError || error instanceof EvenkeelError)) throw error;
  process.stderr.write(`evenkeel: ${error.message.replaceAll(/\s+/g, " ")}\n`);
  process.exitCode = 2;
}
