/** Loaded before every test file: whatever reaches the console unasked fails the test that let it out. */
import { format } from "node:util";
import { afterAll, afterEach } from "vitest";

const methods = ["log", "info", "warn", "error", "debug", "trace"] as const;
const stray: string[] = [];

for (const method of methods) {
  console[method] = (...values: unknown[]) => {
    stray.push(`console.${method}: ${format(...values)}`);
  };
}

function failOnStray(): void {
  const lines = stray.splice(0);
  if (lines.length > 0) throw new Error(`expected no console output, got:\n${lines.join("\n")}`);
}

afterEach(failOnStray);
afterAll(failOnStray);
