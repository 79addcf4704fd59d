import type { Operand } from "../backend/backend.ts";
import { AutogradError } from "../core/errors.ts";
import { formatShape, type Shape } from "../core/shape.ts";
import type { Storage } from "./storage.ts";
import { operandOf, Tensor } from "./tensor.ts";

/** Memory kept for a backward rule, with the version it had. */
export class Saved {
  readonly storage: Storage;
  readonly shape: Shape;
  readonly #operand: Operand;
  readonly #version: number;
  readonly #role: string;

  constructor(tensor: Tensor, role: string) {
    this.#operand = operandOf(tensor);
    this.storage = tensor.holding.storage.retain();
    this.shape = tensor.shape;
    this.#version = this.storage.version;
    this.#role = role;
  }

  operand(): Operand {
    return this.#operand;
  }

  /** A handle on the saved values, for rules written in terms of other operations. */
  tensor(): Tensor {
    const { offset, dtype } = this.#operand;
    return new Tensor({ storage: this.storage.retain(), offset, shape: this.shape, dtype });
  }

  check(op: string): void {
    if (this.storage.version === this.#version) return;
    throw new AutogradError({
      op: "backward",
      expected: `the ${this.#role} of ${op}, shape ${formatShape(this.shape)}, as it was in the forward pass`,
      actual: `a tensor since overwritten by ${this.storage.writer}`,
      hint: "call backward() before that write, or run the forward pass again after it",
    });
  }
}

/** Keeps `tensor` for a backward rule. `role` names it in errors: "input", "weight", "output". */
export function save(tensor: Tensor, role: string): Saved {
  return new Saved(tensor, role);
}
