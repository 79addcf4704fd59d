/// <reference lib="esnext.disposable" preserve="true" />
/** The user's side of lifetimes: `scope`, and `noGrad` beside it, since both are modes of one synchronous stretch of code. */
import { LifetimeError } from "../core/errors.ts";
import { Scope } from "./lifetime.ts";

/** Throws LifetimeError when a function meant to be synchronous returned a promise. */
function rejectPromise(op: string, result: unknown): void {
  if (typeof result !== "object" || result === null || !("then" in result)) return;
  if (result instanceof Promise) result.catch(() => undefined); // this error replaces whatever it ends in
  throw new LifetimeError({
    op,
    expected: "a synchronous function",
    actual: "one that returned a promise",
    hint: `await outside of it: const data = await load(); ${op}(() => use(data))`,
  });
}

/**
 * Runs `fn` and ends every tensor made inside, except those in its result (also inside arrays, objects, maps and sets), kept
 * ones, and tensors held by properties of modules that were called. Without a function: `using s = scope()` does the same at the
 * end of the block, where nothing is a result and `keep()` is the way out.
 *
 * Throws: LifetimeError if `fn` returns a promise, or if a `using` scope is still open after an await.
 *
 * @example
 * const mean = scope(() => x.mul(x).mean()); // x * x is gone
 */
export function scope<T>(fn: () => T): T;
export function scope(): Disposable;
export function scope<T>(fn?: () => T): T | Disposable {
  if (fn === undefined) return openScope();
  return runInScope("scope", fn);
}

/** Opens a scope, runs `fn`, and closes it over the result; a throw ends everything made inside. */
export function runInScope<T>(name: string, fn: (scope: Scope) => T): T {
  const opened = new Scope(name);
  let result: T;
  try {
    result = fn(opened);
    rejectPromise(name, result);
  } catch (error) {
    opened.close(undefined);
    throw error;
  }
  opened.close(result);
  return result;
}

function openScope(): Disposable {
  const opened = new Scope("scope");
  let isDone = false;
  // A microtask runs only when the job that opened the scope has ended or awaited: then it must be closed.
  queueMicrotask(() => {
    if (!isDone) opened.abandon();
  });
  return {
    [Symbol.dispose]() {
      isDone = true;
      opened.close(undefined);
    },
  };
}

let isGradEnabled = true;

/** Whether operations record a graph now. */
export function gradEnabled(): boolean {
  return isGradEnabled;
}

/**
 * Runs `fn` without recording a graph. Running statistics of batch norm still move in training mode: only `eval()` stops that.
 *
 * Throws: LifetimeError if `fn` returns a promise.
 *
 * @example
 * const accuracy = noGrad(() => model(x).argmax(1).eq(y).to("float32").mean());
 */
export function noGrad<T>(fn: () => T): T {
  return withGrad("noGrad", false, fn);
}

/** Runs `fn` with recording on, inside a `noGrad` too. Throws LifetimeError if `fn` returns a promise. */
export function enableGrad<T>(fn: () => T): T {
  return withGrad("enableGrad", true, fn);
}

function withGrad<T>(op: string, flag: boolean, fn: () => T): T {
  const before = isGradEnabled;
  isGradEnabled = flag;
  try {
    const result = fn();
    rejectPromise(op, result);
    return result;
  } finally {
    isGradEnabled = before;
  }
}
