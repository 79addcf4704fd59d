/** A peer of the bench whose every run takes as long as its first argument says; it notes its samples in the file of the second. */
import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [ms, log, name, ending] = process.argv.slice(2);
/** @param {object} message */
const answer = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

if (ending === "at once") throw new TypeError("no such engine");
answer({ versions: { [name]: "1" } });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  if (request.finish) answer({ peakBytes: 4096 });
  else if (request.prepare && ending === "cannot") answer({ skipped: "no such kernel" });
  else if (request.prepare) answer({ ms: Number(ms) });
  else {
    if (ending === "in a sample") throw new RangeError("out of memory");
    appendFileSync(log, name);
    answer({ ms: Number(ms) });
  }
}
