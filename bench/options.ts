/** The command line. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { suites } from "./rows/index.ts";

export const usage = `npm run bench -- [SUITE ...] [--rows=TEXT] [--threads=N] [--report]

Measures evenkeel, its peers and the limits of the machine by turns, writes bench/results/SUITE.json and the tables of
docs/performance.md, and prints whether the budgets hold. Suites: ${suites.join(", ")} (all, when none is named).

  --rows=TEXT   only rows whose id contains the text; writes nothing
  --threads=N   in place of as many threads as there are cores
  --report      measures nothing: writes the tables from bench/results
  --help        this text

PyTorch takes part when EVENKEEL_PYTHON names a Python that has torch and torchvision (ONNX Runtime needs onnx and onnxscript
too, to export the models). TensorFlow.js, jax-js and ONNX Runtime take part once they are installed:
  npm ci --prefix bench/peers/packages --ignore-scripts`;

export interface Options {
  readonly suites: readonly string[];
  readonly threads: number;
  /** Part of the ids that are wanted. */
  readonly rows?: string | undefined;
  readonly report: boolean;
  readonly help: boolean;
}

/** Throws where a flag or a suite is not known or a number is none. */
export function optionsOf(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      ...{ rows: { type: "string" }, threads: { type: "string" } },
      ...{ report: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    },
  });
  const unknown = positionals.filter((name) => !suites.includes(name));
  if (unknown.length > 0) {
    throw new Error(`no suite is called ${unknown.join(" or ")}; there are ${suites.join(", ")}`);
  }
  const threads = Number(values.threads ?? availableParallelism());
  if (!Number.isInteger(threads) || threads < 1 || threads > 64) {
    throw new Error(`--threads: expected a number from 1 to 64, got "${values.threads}"`);
  }
  return {
    ...{ suites: positionals.length > 0 ? positionals : suites, threads, rows: values.rows },
    ...{ report: values.report ?? false, help: values.help ?? false },
  };
}
