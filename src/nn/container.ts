import { ArgumentError } from "../core/errors.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { batchNormRelu, fuses } from "./batch-norm-relu.ts";
import { Module } from "./module.ts";

/** A module that maps one tensor to one tensor. */
export type Layer = Module & ((x: Tensor) => Tensor);

/** Modules under the names "0", "1", ...: their state keys start with these. */
abstract class Indexed<Item extends Module> extends Module {
  constructor(items: readonly Item[]) {
    super();
    for (const item of items) this.append(item);
  }

  /** How many modules it holds. */
  get size(): number {
    return this.toArray().length;
  }

  /** Adds a module behind the last. Throws TypeError for anything else. */
  append(item: Item): this {
    const position = this.size;
    if (!(item instanceof Module)) {
      throw new TypeError(`${this.kind}: expected a module at position ${position}`);
    }
    Object.defineProperty(this, position, {
      value: item,
      enumerable: true,
      writable: true,
      configurable: true,
    });
    return this;
  }

  /** The module at `index`; negative ones count from the end. Throws ArgumentError when there is none. */
  at(index: number): Item {
    const found = this.toArray().at(index);
    if (found !== undefined) return found;
    throw new ArgumentError({
      op: `${this.kind}.at`,
      expected: `an index below ${this.size}`,
      actual: String(index),
    });
  }

  /** The modules in their order, as a new array. */
  toArray(): Item[] {
    return Object.entries(this).flatMap(([name, value]) => (/^\d+$/.test(name) ? [value] : []));
  }

  /** The modules in their order. */
  [Symbol.iterator](): Iterator<Item> {
    return this.toArray()[Symbol.iterator]();
  }
}

/** Layers one after the other; a batch norm and the ReLU behind it in one pass, as `nn.batchNormRelu` says. */
export class Sequential extends Indexed<Layer> {
  static override readonly kind: string = "Sequential";

  constructor(...layers: readonly Layer[]) {
    super(layers);
  }

  forward(x: Tensor): Tensor {
    const layers = this.toArray();
    let y = x;
    for (let i = 0; i < layers.length; i++) {
      const isPair = i + 1 < layers.length && fuses(layers[i], layers[i + 1]);
      y = isPair ? batchNormRelu(layers[i], layers[++i], y) : layers[i](y);
    }
    return y;
  }
}

/** A list of modules for a forward of your own; calling it is an error. */
export class ModuleList extends Indexed<Module> {
  static override readonly kind: string = "ModuleList";

  constructor(modules: readonly Module[] = []) {
    super(modules);
  }

  forward(): never {
    throw new ArgumentError({
      op: "ModuleList",
      expected: "its modules to be called one by one",
      actual: "a call of the list itself",
      hint: "use nn.Sequential for layers in a row",
    });
  }
}
