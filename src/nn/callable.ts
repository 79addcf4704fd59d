/** What `Callable` calls: only modules are. */
interface Invocable {
  invoke(args: readonly unknown[]): unknown;
}

/**
 * Base of objects that can be called: `model(x)`. The constructor returns a function with the class's prototype, so that fields
 * of subclasses land on it. No code is generated from strings, which a Content-Security-Policy would forbid.
 */
export abstract class Callable {
  constructor() {
    // biome-ignore lint/correctness/noConstructorReturn: this is what makes instances callable
    return Object.assign(callableWith(new.target.prototype));
  }
}

/** A callable object of a class without any property of its own: no constructor has run. */
export function callableWith(prototype: object): Callable {
  const call: Callable & Invocable = Object.setPrototypeOf(
    (...args: readonly unknown[]) => call.invoke(args),
    prototype,
  );
  // A function has these of its own; modules leave them free for their users.
  Reflect.deleteProperty(call, "name");
  Reflect.deleteProperty(call, "length");
  return call;
}
