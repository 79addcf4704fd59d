/** What a documentation block imports first: keeps what it prints by line, and writes it down when the process ends. */
import { writeFileSync } from "node:fs";
import { format } from "node:util";

/** @type {Map<number, string>} */
const printed = new Map();

/**
 * @param {number} line
 * @param {...unknown} values
 */
export function record(line, ...values) {
  const before = printed.get(line);
  const text = format(...values);
  printed.set(line, before === undefined ? text : `${before}, ${text}`);
}

process.on("exit", () => {
  writeFileSync(`${process.env.RECORDER_OUTPUT}`, JSON.stringify([...printed]));
});
