/**
 * Python's pickle format, protocols 2 to 5, as far as plain data needs it. Nothing is executed: where a pickle asks for a call, the
 * host is given a name and arguments, and builds data or refuses.
 * Source: Lib/pickletools.py of Python, which describes every opcode.
 */
import type { CheckpointError } from "../core/errors.ts";
import type { Cursor } from "./cursor.ts";
import { describeValue, PickleDict, PickleGlobal, type PickleValue } from "./pickle-values.ts";

/** What decides on the names that a pickle has. */
export interface PickleHost {
  /** What `global(*args)` stands for. Throws for names that are not allowed. */
  call(global: PickleGlobal, args: readonly PickleValue[], cursor: Cursor): PickleValue;
  /** What lies outside of the pickle under this id. */
  persistent(id: PickleValue, cursor: Cursor): PickleValue;
}

/** Python itself nests its calls no deeper, so no pickler leaves more open. */
const mostMarks = 1000;
/** Picklers add to lists and dicts by the thousand; only a tuple has all of its values here at a time. */
const mostValues = 100_000;
/** A tensor takes about eight. One byte of the file makes a list of a hundred in memory, or a dict of five hundred, which counts as five. */
const mostContainers = 1_000_000;
const mostMemos = 2_000_000;
/** In bytes: text of a longer number would take time that grows with its square. */
const longestNumber = 4096;

/** The value of the pickle at the cursor, which then stands behind it. Throws: CheckpointError for anything unforeseen. */
export function unpickle(cursor: Cursor, host: PickleHost): PickleValue {
  const machine = new Machine(cursor, host);
  for (;;) {
    const at = cursor.at;
    const code = cursor.uint8();
    if (code === stop) return machine.result(at);
    const run = opcodes[code];
    if (run === undefined) {
      throw cursor.fault("an opcode of a pickle", `0x${code.toString(16).padStart(2, "0")}`, at);
    }
    run(machine, cursor);
  }
}

class Machine {
  readonly #cursor: Cursor;
  readonly #host: PickleHost;
  readonly #stack: PickleValue[] = [];
  /** Heights of the stack at each open mark. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, PickleValue>();
  #containers = 0;

  constructor(cursor: Cursor, host: PickleHost) {
    this.#cursor = cursor;
    this.#host = host;
  }

  fault(expected: string, actual: string): CheckpointError {
    return this.#cursor.fault(expected, actual);
  }

  push(value: PickleValue): void {
    if (this.#stack.length >= mostValues) {
      throw this.fault(`at most ${mostValues} values at a time`, "more");
    }
    this.#stack.push(value);
  }

  /** Pushes a new list or dict. */
  pushContainer(value: PickleValue): void {
    this.#containers += value instanceof PickleDict ? 5 : 1;
    if (this.#containers > mostContainers) {
      throw this.fault(`at most ${mostContainers} lists and dicts`, "more");
    }
    this.push(value);
  }

  pop(): PickleValue {
    this.#requireValue();
    return this.#stack.pop() ?? null;
  }

  top(): PickleValue {
    this.#requireValue();
    return this.#stack[this.#stack.length - 1];
  }

  #requireValue(): void {
    if (this.#stack.length > (this.#marks.at(-1) ?? 0)) return;
    throw this.fault("a value on the pickle's stack", "none");
  }

  mark(): void {
    if (this.#marks.length >= mostMarks)
      throw this.fault(`at most ${mostMarks} open marks`, "more");
    this.#marks.push(this.#stack.length);
  }

  /** Everything above the last mark, and that mark. */
  popToMark(): PickleValue[] {
    const height = this.#marks.pop();
    if (height === undefined) throw this.fault("an open mark", "none");
    return this.#stack.splice(height);
  }

  memoize(index = this.#memo.size): void {
    if (this.#memo.size >= mostMemos) throw this.fault(`at most ${mostMemos} memos`, "more");
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.fault("a memo made before", `number ${index}`);
    this.push(value);
  }

  tuple(count: number): void {
    const items = Array.from({ length: count }, () => this.pop());
    this.pushContainer(items.reverse());
  }

  append(items: readonly PickleValue[]): void {
    const list = this.top();
    if (!Array.isArray(list)) throw this.fault("a list to append to", describeValue(list));
    for (const item of items) list.push(item);
  }

  setItems(items: readonly PickleValue[]): void {
    const dict = this.top();
    if (!(dict instanceof PickleDict)) throw this.fault("a dict to fill", describeValue(dict));
    if (items.length % 2 !== 0) throw this.fault("pairs of keys and values", "a key alone");
    for (let i = 0; i < items.length; i += 2) {
      dict.set(items[i], items[i + 1], this.#cursor);
    }
  }

  global(at: number, module: PickleValue, name: PickleValue): void {
    if (typeof module !== "string" || typeof name !== "string") {
      throw this.fault("names of a module and what is in it", describeValue([module, name]));
    }
    this.push(new PickleGlobal(`${module}.${name}`, at));
  }

  call(): void {
    const args = this.pop();
    const callee = this.pop();
    if (!(callee instanceof PickleGlobal) || !Array.isArray(args)) {
      throw this.fault("a name to call and a tuple", describeValue([callee, args]));
    }
    this.pushContainer(this.#host.call(callee, args, this.#cursor));
  }

  /** Python would set attributes, or call __setstate__: only the attributes of a dict mean something here. */
  build(): void {
    const state = this.pop();
    const target = this.top();
    const isKnown = target instanceof PickleDict && state instanceof PickleDict;
    if (!isKnown) {
      throw this.fault(
        "attributes of a dict",
        `${describeValue(state)} for ${describeValue(target)}`,
      );
    }
    target.attributes = state;
  }

  persistent(): void {
    this.pushContainer(this.#host.persistent(this.pop(), this.#cursor));
  }

  result(at: number): PickleValue {
    if (this.#stack.length === 1 && this.#marks.length === 0) return this.#stack[0];
    throw this.#cursor.fault("one value at the pickle's end", `${this.#stack.length}`, at);
  }
}

const stop = 0x2e;

/** By their codes; the names are those of pickletools. */
const opcodes: Readonly<Record<number, (machine: Machine, cursor: Cursor) => void>> = {
  // PROTO, FRAME: nothing depends on them.
  128: (_, c) => requireProtocol(c),
  149: (_, c) => void c.take(8),
  // NONE, NEWTRUE, NEWFALSE
  78: (m) => m.push(null),
  136: (m) => m.push(true),
  137: (m) => m.push(false),
  // BININT, BININT1, BININT2, LONG1, LONG4, BINFLOAT
  74: (m, c) => m.push(c.int32()),
  75: (m, c) => m.push(c.uint8()),
  77: (m, c) => m.push(c.uint16()),
  138: (m, c) => m.push(signed(c.take(c.uint8()))),
  139: (m, c) => m.push(signed(c.take(lengthOfNumber(c)))),
  71: (m, c) => m.push(c.float64()),
  // BINUNICODE, SHORT_BINUNICODE, BINUNICODE8
  88: (m, c) => m.push(c.text(c.uint32())),
  140: (m, c) => m.push(c.text(c.uint8())),
  141: (m, c) => m.push(c.text(c.uint64())),
  // BINSTRING, SHORT_BINSTRING: Python 2's text.
  84: (m, c) => m.push(c.text(c.uint32())),
  85: (m, c) => m.push(c.text(c.uint8())),
  // BINBYTES, SHORT_BINBYTES, BINBYTES8, BYTEARRAY8
  66: (m, c) => m.push(c.take(c.uint32())),
  67: (m, c) => m.push(c.take(c.uint8())),
  142: (m, c) => m.push(c.take(c.uint64())),
  150: (m, c) => m.push(c.take(c.uint64())),
  // EMPTY_TUPLE, TUPLE, TUPLE1, TUPLE2, TUPLE3
  41: (m) => m.tuple(0),
  116: (m) => m.pushContainer(m.popToMark()),
  133: (m) => m.tuple(1),
  134: (m) => m.tuple(2),
  135: (m) => m.tuple(3),
  // EMPTY_LIST, LIST, APPEND, APPENDS
  93: (m) => m.pushContainer([]),
  108: (m) => m.pushContainer(m.popToMark()),
  97: (m) => m.append([m.pop()]),
  101: (m) => m.append(m.popToMark()),
  // EMPTY_SET, ADDITEMS, FROZENSET
  143: (m) => m.pushContainer([]),
  144: (m) => m.append(m.popToMark()),
  145: (m) => m.pushContainer(m.popToMark()),
  // EMPTY_DICT, SETITEM, SETITEMS
  125: (m) => m.pushContainer(new PickleDict()),
  115: (m) => setItem(m),
  117: (m) => m.setItems(m.popToMark()),
  // MARK, POP, POP_MARK, DUP
  40: (m) => m.mark(),
  48: (m) => void m.pop(),
  49: (m) => void m.popToMark(),
  50: (m) => m.push(m.top()),
  // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
  113: (m, c) => m.memoize(c.uint8()),
  114: (m, c) => m.memoize(c.uint32()),
  148: (m) => m.memoize(),
  104: (m, c) => m.recall(c.uint8()),
  106: (m, c) => m.recall(c.uint32()),
  // GLOBAL, STACK_GLOBAL
  99: (m, c) => m.global(c.at - 1, c.line(), c.line()),
  147: (m, c) => stackGlobal(m, c),
  // REDUCE, NEWOBJ, BUILD, BINPERSID
  82: (m) => m.call(),
  129: (m) => m.call(),
  98: (m) => m.build(),
  81: (m) => m.persistent(),
};

function requireProtocol(cursor: Cursor): void {
  const protocol = cursor.uint8();
  if (protocol <= 5) return;
  throw cursor.fault("a pickle of protocol 2 to 5", `${protocol}`, cursor.at - 1);
}

function setItem(machine: Machine): void {
  const value = machine.pop();
  machine.setItems([machine.pop(), value]);
}

function stackGlobal(machine: Machine, cursor: Cursor): void {
  const name = machine.pop();
  machine.global(cursor.at - 1, machine.pop(), name);
}

function lengthOfNumber(cursor: Cursor): number {
  const length = cursor.uint32();
  if (length <= longestNumber) return length;
  throw cursor.fault(`a number of at most ${longestNumber} bytes`, `${length}`, cursor.at - 4);
}

/** Little-endian two's complement: a number where that is exact, else a bigint. */
function signed(bytes: Uint8Array): number | bigint {
  if (bytes.length === 0) return 0;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"));
  const value = BigInt.asIntN(8 * bytes.length, BigInt(`0x${digits.reverse().join("")}`));
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
