/**
 * Who ends a tensor handle, and when. Device memory is invisible to the garbage collector, so scopes end handles
 * deterministically and the collector is only the net for what user code makes outside of any scope.
 */
import { LifetimeError } from "../core/errors.ts";
import type { Ledger } from "./ledger.ts";
import { liveBytes, type Storage } from "./storage.ts";
import type { Tensor } from "./tensor.ts";

/** The part of a handle that outlives the `Tensor` object: what must be given back. */
export class Holding {
  storage: Storage;
  /** What the graph behind the tensor keeps; never the graph itself, which reaches tensors. */
  ledger: Ledger | null = null;
  /** What ended the handle, or null while it lives. */
  endedBy: string | null = null;
  isKept = false;
  /** Whether the collector ends the handle if nobody does before. */
  isInNet = false;

  /** Takes over one reference to `storage`. */
  constructor(storage: Storage) {
    this.storage = storage;
    liveTensors.count++;
  }

  end(by: string): void {
    if (this.endedBy !== null) return;
    this.endedBy = by;
    liveTensors.count--;
    if (this.isInNet) net.unregister(this);
    this.storage.release();
    this.ledger?.release();
    this.ledger = null;
  }

  replaceStorage(storage: Storage): void {
    this.storage.release();
    this.storage = storage;
  }
}

/** Handles that have not ended, for `memory()`. */
export const liveTensors = { count: 0 };

const net = new FinalizationRegistry<Holding>((holding) => holding.end("the garbage collector"));

/** Leaves a handle to the collector. */
export function catchInNet(tensor: Tensor): void {
  const { holding } = tensor;
  if (!holding.isInNet) net.register(tensor, holding, holding);
  holding.isInNet = true;
  // For loops that await other things than ours: finalizers then run at their own macrotasks.
  const live = liveBytes.total;
  if (live > pileLimit() && live > pressedAt + slackBytes) pressCollector();
}

let innermost: Scope | null = null;

/** Hands a new or surviving handle to the innermost scope, or to the collector at top level. */
export function own(tensor: Tensor): void {
  if (innermost === null) catchInNet(tensor);
  else innermost.owned.push(tensor);
}

export class Scope {
  readonly #name: string;
  readonly #parent: Scope | null;
  /** Tensors made while this was the innermost scope. */
  readonly owned: Tensor[] = [];
  /** Objects whose own properties keep tensors alive: the modules called within. */
  readonly holders = new Set<object>();
  #isOpen = true;

  /** @param name what the error says when a tensor is used after this scope ended it. */
  constructor(name: string) {
    this.#name = name;
    this.#parent = innermost;
    innermost = this;
  }

  /** Ends every owned handle, except those reachable from `results` or a holder: these pass to the parent. */
  close(results: unknown): void {
    if (!this.#isOpen) return;
    if (innermost !== this) this.#rejectOrder();
    this.#isOpen = false;
    innermost = this.#parent;
    const surviving = this.#surviving(results);
    for (const tensor of this.owned) {
      if (!isTransient(tensor)) continue;
      if (surviving.has(tensor)) own(tensor);
      else tensor.holding.end(this.#name);
    }
    const parent = this.#parent;
    if (parent !== null) for (const holder of this.holders) parent.holders.add(holder);
  }

  /** Steps aside without ending anything: for a scope found open after its job has ended. */
  abandon(): void {
    if (innermost === this) innermost = this.#parent;
  }

  #surviving(results: unknown): ReadonlySet<unknown> {
    const seen = new Set<unknown>();
    collect(results, seen);
    // The common case, a layer that returns all it made, need not look at its properties.
    if (this.owned.every((tensor) => seen.has(tensor) || !isTransient(tensor))) return seen;
    for (const holder of this.holders) collectProperties(holder, seen);
    return seen;
  }

  #rejectOrder(): never {
    this.#isOpen = false;
    throw new LifetimeError({
      op: this.#name,
      expected: "scopes to close in the reverse order of opening, in the job that opened them",
      actual: "one held across an await, or closed out of order",
      hint: "await first, then open the scope: scope(() => { ... }) around the synchronous part",
    });
  }
}

/**
 * Lets the tensors that `holder` holds in own properties outlive the running scope and those around it, until `letGo`. For what is
 * collected in the middle of a call and handed out at its end.
 */
export function hold(holder: object): void {
  innermost?.holders.add(holder);
}

/** From here on `holder` keeps nothing alive: what it holds belongs to the running scope. */
export function letGo(holder: object): void {
  innermost?.holders.delete(holder);
}

/** Whether it depends on scopes how long a handle lives. */
function isTransient({ holding }: Tensor): boolean {
  return holding.endedBy === null && !holding.isKept;
}

/** Puts everything reachable from `value` through arrays, maps, sets and own enumerable fields into `seen`. */
function collect(value: unknown, seen: Set<unknown>): void {
  if (typeof value !== "object" || value === null || seen.has(value)) return;
  seen.add(value);
  // A tensor is told by its holding and not by its class, whose file imports this one.
  if (ArrayBuffer.isView(value) || ("holding" in value && value.holding instanceof Holding)) return;
  if (value instanceof Map) for (const entry of value) collect(entry, seen);
  else if (value instanceof Set) for (const item of value) collect(item, seen);
  else collectProperties(value, seen);
}

/** Runs for every module whenever a call around it ends, so by keys and without an iterator: `Object.values` takes several times as long. */
function collectProperties(holder: object, seen: Set<unknown>): void {
  const fields = holder as Readonly<Record<string, unknown>>;
  const names = Object.keys(fields);
  for (let i = 0; i < names.length; i++) {
    const value = fields[names[i]];
    if (typeof value === "object") collect(value, seen);
  }
}

/** Bytes that may pile up above the low-water mark before the collector is called. */
const slackBytes = 256 * 2 ** 20;
/** Collections often end within one macrotask, and never took more than this many when tried. */
const mostHops = 24;
let lowWater = 0;
let pressedAt = 0;

function pileLimit(): number {
  return Math.max(1.5 * lowWater, lowWater + slackBytes);
}

/**
 * Awaited by everything that awaits anyway (the loader's next, data, item, array). The collector does not see device bytes, and
 * finalizers run only between macrotasks, which a loop of awaits on resolved promises never reaches. So when much has piled up,
 * call the collector and stay on the macrotask queue until it has been.
 */
export async function hopIfNeeded(): Promise<void> {
  const limit = pileLimit();
  if (liveBytes.total > limit) {
    pressCollector();
    for (let hops = 0; hops < mostHops && liveBytes.total > limit; hops++) await nextMacrotask();
    lowWater = liveBytes.total;
  }
  lowWater = Math.min(lowWater, liveBytes.total);
  pressedAt = Math.min(pressedAt, liveBytes.total);
}

/**
 * Makes the collector run soon. It weighs array buffers by their length, so one large one that is dropped at once is reason
 * enough; being resizable and never touched, it takes address space only.
 */
function pressCollector(): void {
  pressedAt = liveBytes.total;
  for (const bytes of [2 ** 32, 2 ** 30, 2 ** 28]) {
    try {
      new ArrayBuffer(bytes, { maxByteLength: bytes });
      return;
    } catch {
      // Not that much address space: a smaller one weighs less, but something.
    }
  }
}

/** Lets timers, signals and input in: promises alone never leave the job that runs. */
export function nextMacrotask(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === "function") {
      setImmediate(resolve);
      return;
    }
    // Not setTimeout, which pages clamp to 4 ms.
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
