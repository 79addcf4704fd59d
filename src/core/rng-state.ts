import { StateDictError } from "./errors.ts";
import { defaultGenerator } from "./random.ts";

/** The state of the random numbers that `manualSeed` seeds, in the form in which files hold values. */
export interface RngState {
  /** Its values are bytes. */
  readonly dtype: "uint8";
  /** Their number. */
  readonly shape: readonly [number];
  /** A copy of the bytes. */
  data(): Uint8Array<ArrayBuffer>;
}

/** Little-endian: four words (uint32), whether a normal deviate is spare (uint8), that deviate (float64). */
const layout = { wordBytes: 4, words: 4, hasSpare: 16, spare: 17, bytes: 25 } as const;

/**
 * The state of everything that `manualSeed` seeds (weights, `randn`, dropout, loaders without a seed): a run that is given it back by
 * `setRngState` draws the same numbers. `checkpoint.write` stores it as it is, beside the model.
 *
 * Unlike PyTorch: bytes in ordinary memory and not a tensor; no state of PyTorch's generator fits.
 *
 * @example
 * await checkpoint.write("random.safetensors", { rng: getRngState() });
 */
export function getRngState(): RngState {
  const { words, spare } = defaultGenerator.state();
  const bytes = new Uint8Array(layout.bytes);
  const view = new DataView(bytes.buffer);
  words.forEach((word, i) => {
    view.setUint32(i * layout.wordBytes, word, true);
  });
  view.setUint8(layout.hasSpare, spare === null ? 0 : 1);
  view.setFloat64(layout.spare, spare ?? 0, true);
  return { dtype: "uint8", shape: [layout.bytes], data: () => bytes.slice() };
}

/**
 * Goes on where `getRngState` was called; takes its result, or what `checkpoint.read` gives for it.
 *
 * Throws: StateDictError for anything else; the state is then as before.
 *
 * @example
 * const saved = await checkpoint.read("random.safetensors");
 * setRngState(saved.get("rng"));
 */
export function setRngState(state: unknown): void {
  const bytes = bytesIn(state);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (i: number) => view.getUint32(i * layout.wordBytes, true);
  const words = [word(0), word(1), word(2), word(3)] as const;
  const spare = view.getFloat64(layout.spare, true);
  const hasSpare = view.getUint8(layout.hasSpare);
  // From four zeros the generator would give zeros for ever, and it never gets there by itself.
  if (words.every((value) => value === 0) || hasSpare > 1 || !Number.isFinite(spare)) {
    reject("bytes that are no such state");
  }
  defaultGenerator.restore({ words, spare: hasSpare === 1 ? spare : null });
}

function bytesIn(state: unknown): Uint8Array {
  const isEntry = typeof state === "object" && state !== null && "data" in state;
  const bytes: unknown = isEntry && typeof state.data === "function" ? state.data() : undefined;
  if (!(bytes instanceof Uint8Array)) reject(describe(state));
  if (bytes.length !== layout.bytes) reject(`${bytes.length} bytes`);
  return bytes;
}

function describe(state: unknown): string {
  if (typeof state !== "object" || state === null) return String(state);
  return "dtype" in state ? `an entry of ${String(state.dtype)}` : "an object without data()";
}

function reject(actual: string): never {
  throw new StateDictError({
    op: "setRngState",
    expected: `the ${layout.bytes} bytes that getRngState gave`,
    actual,
  });
}
