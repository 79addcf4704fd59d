/** Modules: callable objects that hold parameters, buffers and other modules, and know whether they are training. */
import type { Device } from "../backend/backend.ts";
import type { DType } from "../core/dtype.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { callModule } from "./call.ts";
import { Callable } from "./callable.ts";
import { cloneModule } from "./clone.ts";
import { addHook, type ForwardHook, type ForwardPreHook, type HookHandle } from "./hooks.ts";
import { Internals, internals } from "./internals.ts";
import { type LoadOptions, type LoadResult, loadInto } from "./load-state.ts";
import { moveState } from "./move.ts";
import { Parameter } from "./parameter.ts";
import { defineSlot, describe, type StateSlot, slotCheck } from "./slot.ts";
import { type LazyStateSource, StateDict, type StateSource, stateKey } from "./state-dict.ts";
import { childrenOf, formatTree, join, ownStateOf, uniqueState, walk } from "./tree.ts";

export interface Module {
  /** Calls `forward` in a scope: what it makes ends with the call, except its outputs and what modules hold in properties. */
  // biome-ignore lint/style/useShorthandFunctionType: a class merges with an interface only
  (...args: Parameters<this["forward"]>): ReturnType<this["forward"]>;
}

/**
 * Base of all models and layers. Subclasses write `forward`; properties that are modules, parameters, or arrays of modules are found by
 * themselves. State a static `kind` with the class's name, which a minifier would change.
 *
 * @example
 * class Net extends nn.Module {
 *   static override readonly kind = "Net";
 *   readonly fc = new nn.Linear(4, 2);
 *   forward(x: Tensor) { return this.fc(x).relu(); }
 * }
 */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the interface adds the call that Callable provides
export abstract class Module extends Callable {
  /** Name of the class that survives minifiers; subclasses state their own. */
  static readonly kind: string = "Module";

  /** Set by `train` and `eval`; read by layers whose forward differs. */
  training = true;
  /** @internal */
  readonly [internals] = new Internals();

  /** What a call computes; see the class. Written by subclasses and called through the module itself: `model(x)`. */
  abstract forward(...args: never[]): unknown;

  /** Name of the module's class, as in PyTorch; read from the static `kind`. */
  get kind(): string {
    return Object.getPrototypeOf(this).constructor.kind;
  }

  /** @internal What calling the module does. */
  invoke(args: readonly unknown[]): unknown {
    return callModule(this, args);
  }

  /** Runs `hook` before every call. Tensors it is given or makes live as long as the call. */
  registerForwardPreHook(hook: ForwardPreHook): HookHandle {
    return addHook(this[internals].preHooks, hook);
  }

  /** Runs `hook` after every call. Tensors it is given or makes live as long as the enclosing call. */
  registerForwardHook(hook: ForwardHook): HookHandle {
    return addHook(this[internals].hooks, hook);
  }

  /**
   * Makes property `name` a buffer: state that is saved and moved but not learned; with `persistent: false` it is moved only. It may be
   * set to null later. Assigning anything but a tensor or null throws TypeError.
   */
  registerBuffer(
    name: string,
    value: Tensor | null,
    { persistent = true }: { readonly persistent?: boolean } = {},
  ): void {
    const { bufferNames, transientNames } = this[internals];
    bufferNames.add(name);
    if (persistent) transientNames.delete(name);
    else transientNames.add(name);
    defineSlot(this, name, value, slotCheck(name, "buffer"));
  }

  /** As `registerBuffer`, for a whole number: an int64 scalar in files. */
  protected registerCounter(name: string, value: number | null): void {
    this[internals].bufferNames.add(name);
    defineSlot(this, name, value, slotCheck(name, "counter"));
  }

  /** Makes property `name` a parameter that may be null and takes nothing but a Parameter. */
  protected registerParameter(name: string, value: Parameter | null): void {
    defineSlot(this, name, value, slotCheck(name, "parameter"));
  }

  // ---- what it holds ---------------------------------------------------------------------------------------------

  /** @internal Own parameters, then own buffers, as they stand; nulls left out. */
  ownState(): readonly StateSlot[] {
    return ownStateOf(this, this[internals]);
  }

  /** Direct submodules by name: properties that are modules, and modules in properties that are arrays ("blocks.0"). */
  namedChildren(): [string, Module][] {
    return childrenOf(this);
  }

  /** This module and all below with their paths, parents first; a module in two places appears once. */
  namedModules(): [string, Module][] {
    const seen = new Set<Module>();
    return walk(this, "").filter(([, module]) => !seen.has(module) && seen.add(module));
  }

  /** The modules of `namedModules()`. */
  modules(): Module[] {
    return this.namedModules().map(([, module]) => module);
  }

  /** Parameters with PyTorch's keys, each once. */
  namedParameters(): [string, Parameter][] {
    return uniqueState(this).flatMap(([key, { value }]) =>
      value instanceof Parameter ? [[key, value] satisfies [string, Parameter]] : [],
    );
  }

  /** The parameters of `namedParameters()`: what an optimizer takes. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  /** Buffers with PyTorch's keys, each tensor once; counters are numbers. */
  namedBuffers(): [string, Tensor | number][] {
    return uniqueState(this).flatMap(([key, { kind, value }]) =>
      kind === "buffer" ? [[key, value] satisfies [string, Tensor | number]] : [],
    );
  }

  /** The buffers of `namedBuffers()`. */
  buffers(): (Tensor | number)[] {
    return this.namedBuffers().map(([, buffer]) => buffer);
  }

  // ---- state -----------------------------------------------------------------------------------------------------

  /** Version of this class's state layout, for `_metadata`. */
  protected get stateVersion(): number {
    return 1;
  }

  /** @internal The value, or what fills the tensor, for an entry that a state dict of this layout version lacks; null when it must be there. */
  missingState(_name: string, _version: number | null): number | null {
    return null;
  }

  /** @internal Whether own state `value` takes its shape from the first values loaded into it. */
  awaitsShape(_value: Tensor): boolean {
    return false;
  }

  /**
   * Live parameters and buffers by PyTorch's keys ("layer1.0.bn1.running_mean"), parameters before buffers in each module.
   * Later training changes the tensors in it; write it to a file, or clone them, to keep what they are now.
   */
  stateDict(): StateDict {
    const dict = new StateDict();
    for (const [path, module] of walk(this, "")) {
      dict.metadata.set(path, { version: module.stateVersion });
      for (const { name, value, isPersistent } of module.ownState()) {
        const key = join(path, stateKey(name));
        if (isPersistent && !dict.has(key)) dict.set(key, value);
      }
    }
    return dict;
  }

  /**
   * Copies values into the parameters and buffers of the same names, converting dtypes (bfloat16 of files too); tensors keep their
   * identity. Of a file that `checkpoint.open` gave, one entry at a time is read, and the result is a promise.
   *
   * Numerics: floats are rounded once to the nearest, 64-bit integers too; to integers fractions are cut off.
   * Throws: StateDictError listing missing, unexpected and mismatched entries, with the cause where it is a known one (shapes must fit
   * also when not strict); ArgumentError for a prefix that no key has; the signal's reason.
   * Unlike PyTorch: nothing is written when it throws, but where an opened file cannot be read to its end, which is found midway.
   *
   * @example
   * await model.loadStateDict(await checkpoint.open("parallel.pth"), { prefix: "module." });
   */
  loadStateDict(source: StateSource, options?: LoadOptions): LoadResult;
  loadStateDict(source: LazyStateSource, options?: LoadOptions): Promise<LoadResult>;
  loadStateDict(
    source: StateSource | LazyStateSource,
    options: LoadOptions = {},
  ): LoadResult | Promise<LoadResult> {
    return loadInto(walk(this, ""), source, options);
  }

  // ---- modes -----------------------------------------------------------------------------------------------------

  /** Sets training mode here and in everything below. Throws TypeError unless `mode` is a boolean. */
  train(mode = true): this {
    if (typeof mode !== "boolean") {
      throw new TypeError(`train: expected true or false, got ${describe(mode)}`);
    }
    this.training = mode;
    for (const [, child] of this.namedChildren()) child.train(mode);
    return this;
  }

  /** Evaluation mode here and in everything below; any later `train()` of a parent undoes it. */
  eval(): this {
    return this.train(false);
  }

  /** Calls `fn` on every module below, children first, then on this one. */
  apply(fn: (module: Module) => void): this {
    for (const [, child] of this.namedChildren()) child.apply(fn);
    fn(this);
    return this;
  }

  /** Whether parameters get gradients. Statistics of batch norm move all the same: see `nn.freezeBatchNorm`. */
  setRequiresGrad(flag: boolean): this {
    for (const parameter of this.parameters()) parameter.requiresGrad = flag;
    return this;
  }

  /** Drops the gradients of all parameters, as an optimizer's `zeroGrad`. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Moves parameters and buffers to a device, or floating ones to a dtype, keeping their identity. */
  to(target: Device | DType): this {
    moveState(this, target);
    return this;
  }

  /** All floating parameters and buffers to float16, batch norm's too, where `nn.networkToHalf` leaves it. Inputs must be float16. */
  half(): this {
    return this.to("float16");
  }

  /** All floating parameters and buffers to float32. */
  float(): this {
    return this.to("float32");
  }

  /**
   * A deep copy with memory of its own, as Python's `copy.deepcopy(model)`: values, modes, hooks and everything else in own
   * properties, arrays, maps, sets and plain objects; what is shared inside stays shared inside. Gradients stay behind. Functions and
   * objects of other classes are shared with the original. `#private` fields of a subclass would be missing: use ordinary properties.
   */
  clone(): this {
    return cloneModule(this);
  }

  // ---- text ------------------------------------------------------------------------------------------------------

  /** What follows the kind in the printed tree, in PyTorch's words. */
  extraRepr(): string {
    return "";
  }

  /** The tree of modules as PyTorch prints it. */
  override toString(): string {
    return formatTree(this, this[internals].inputDType);
  }
}

// Consoles print the tree instead of "[Function]".
Object.defineProperty(Module.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Module) {
    return this.toString();
  },
});
