/**
 * What of the list of batch norm cases these tests cover, and where they run it. The list was distilled from PyTorch's own tests,
 * issues and forum threads; a case is named by a letter for its topic and a number.
 */

/** Where a case runs unless it is about something else than numbers. */
export const placements = [
  { device: "cpu", dtype: "float32" },
  { device: "reference", dtype: "float32" },
  { device: "reference", dtype: "float64" },
] as const;

export type Place = (typeof placements)[number];

/** Highest number of each topic; numbers start at 1. */
const topics = {
  G: 31, // golden vectors
  TT: 14, // truth table of training, tracking and buffers
  F: 16, // forward
  R: 14, // running statistics
  B: 15, // backward
  E: 12, // errors
  D: 8, // dtype and layout
  S: 13, // state and state dicts
  M: 8, // modules in a training loop
  L: 6, // lazy layers
  Y: 11, // statistics across processes
  H: 18, // helpers
  N: 7, // other normalizations
} as const;

/** Every id of the list, in its order: "G-01", but "TT-1". */
export const ids: readonly string[] = Object.entries(topics).flatMap(([topic, last]) =>
  Array.from({ length: last }, (_, i) => `${topic}-${topic === "TT" ? i + 1 : padded(i + 1)}`),
);

function padded(number: number): string {
  return String(number).padStart(2, "0");
}

/** The same reason for several numbers of a topic. */
function all(topic: keyof typeof topics, numbers: readonly number[], reason: string) {
  return Object.fromEntries(numbers.map((number) => [`${topic}-${padded(number)}`, reason]));
}

/** Cases without a test, each with what is not there to test. */
export const withoutTest: Readonly<Record<string, string>> = {
  "G-20": "no layer merges statistics of several processes",
  "G-22": "no precise batch norm helper",
  "G-25": "no helper that fuses batch norm into a layer before it",
  "R-12": "tensors are contiguous, so no buffer is strided",
  "B-13": "no forward-mode differentiation",
  ...all("D", [1, 2], "tensors have one layout, no channels_last"),
  ...all("D", [4, 5, 8], "no 16-bit dtypes"),
  "E-12": "no synchronised batch norm",
  "L-06": "calls have no keyword arguments",
  ...all("Y", [1, 2, 3, 4, 5, 6, 7, 8, 9, 11], "no synchronised batch norm"),
  ...all("H", [7, 8, 9], "no precise batch norm helper"),
  "H-11": "no 16-bit dtypes; frozen layers start at variance 1, not at 1 - eps",
  ...all("H", [13, 14, 15, 16, 17], "no helper that fuses batch norm into a layer before it"),
};
