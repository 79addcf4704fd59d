import { ArgumentError } from "../core/errors.ts";
import { allocate, backendFor, operandOf, Tensor } from "../tensor/tensor.ts";

/** Base of optimizers: holds the parameters, clears their gradients. */
export abstract class Optimizer {
  /** The tensors this optimizer changes. */
  readonly parameters: readonly Tensor[];
  /** Learning rate; may be changed between steps. */
  lr: number;

  /** Throws ArgumentError if there is no parameter, or one that is not a leaf requiring grad. */
  constructor(kind: string, parameters: Iterable<Tensor>, lr: number) {
    this.parameters = [...new Set(parameters)];
    this.lr = lr;
    checkAtLeast(kind, "lr", lr, 0);
    if (this.parameters.length === 0) {
      throw new ArgumentError({
        op: kind,
        expected: "at least one parameter",
        actual: "none",
        hint: "pass model.parameters()",
      });
    }
    for (const parameter of this.parameters) {
      if (parameter instanceof Tensor && parameter.holding.node === null) continue;
      throw new ArgumentError({
        op: kind,
        expected: "leaf tensors",
        actual: parameter instanceof Tensor ? "the result of an operation" : typeof parameter,
      });
    }
  }

  /**
   * Drops all gradients: `grad` is null until the next backward.
   * Unlike PyTorch: the old gradient tensors end, whoever holds them; `detach()` one to keep its values.
   */
  zeroGrad(): void {
    for (const parameter of this.parameters) {
      parameter.grad?.dispose();
      parameter.grad = null;
    }
  }

  /** Changes every parameter that has a gradient. Statistics of batch norm are none of its business: `forward` moves them. */
  step(): void {
    for (const parameter of this.parameters) {
      const { grad } = parameter;
      if (grad === null) continue;
      this.update(parameter, grad);
      parameter.holding.storage.markWritten("the optimizer's step");
    }
  }

  protected abstract update(parameter: Tensor, grad: Tensor): void;
}

/** Optimizer state shaped like its parameter, owned by no scope. */
export function zerosFor(parameter: Tensor): Tensor {
  const backend = backendFor(parameter);
  const state = allocate(backend, parameter.shape, parameter.dtype, "nobody");
  backend.fill(operandOf(state), 0);
  return state;
}

export function checkAtLeast(op: string, name: string, value: number, least: number): void {
  if (typeof value === "number" && value >= least) return;
  throw new ArgumentError({ op, expected: `${name} >= ${least}`, actual: String(value) });
}
