/** What the user says about Winograd's algorithm: faster 3 x 3 and 7 x 7 convolutions that round a little more than the direct way. */
import { ArgumentError } from "../../core/errors.ts";

/** The largest tile of outputs that convolutions may compute together; "off" is always the direct way. */
export type WinogradChoice = "4x4" | "2x2" | "off";

interface Noted {
  readonly choice: WinogradChoice;
  /** What it is and why, in one sentence. */
  readonly note: string;
}

const choices: readonly string[] = ["4x4", "2x2", "off"] satisfies WinogradChoice[];
let chosen: WinogradChoice | null = null;

/**
 * Sets the largest tile of outputs that 3 x 3 convolutions of stride 1 or 2, and 7 x 7 ones of stride 2, may compute together on every CPU
 * backend made without a choice of its own, now and later. "4x4", the default, is the fastest; "2x2" rounds less, and is for 3 x 3 and
 * stride 1 only; "off" always goes the direct way, where NaN and infinities reach no neighbours.
 *
 * Throws: ArgumentError unless it is one of the three.
 */
export function setWinograd(choice: WinogradChoice): void {
  chosen = checkWinograd("setWinograd", choice);
}

/**
 * What holds now for a backend that was `asked` for a choice of its own, where the environment says `variable`.
 *
 * Throws: ArgumentError if one of the two is no choice.
 */
export function winogradChoice(
  asked: WinogradChoice | undefined,
  variable: string | undefined,
): Noted {
  if (asked !== undefined) return noted(checkWinograd("createCpuBackend", asked), "as asked for");
  if (chosen !== null) return noted(chosen, "as set by setWinograd");
  if (!variable) return noted("4x4", "the fastest");
  return noted(checkWinograd("EVENKEEL_WINOGRAD", variable), "as set by EVENKEEL_WINOGRAD");
}

function noted(choice: WinogradChoice, reason: string): Noted {
  return { choice, note: `winograd: ${choice}, ${reason}` };
}

function checkWinograd(op: string, choice: string): WinogradChoice {
  if (isChoice(choice)) return choice;
  throw new ArgumentError({ op, expected: '"4x4", "2x2" or "off"', actual: String(choice) });
}

function isChoice(choice: string): choice is WinogradChoice {
  return choices.includes(choice);
}
