import { hostArray } from "../core/dtype.ts";
import { sizeOf } from "../core/shape.ts";
import { allocate, backendFor, operandOf, type Tensor } from "../tensor/tensor.ts";

/** What an optimizer remembers of one parameter. Its tensors follow the parameter to other devices and dtypes. */
export class ParameterState {
  /** Steps taken. */
  step = 0;
  readonly tensors = new Map<string, Tensor>();
  readonly #parameter: Tensor;

  constructor(parameter: Tensor) {
    this.#parameter = parameter;
  }

  /** The tensor of that name, like the parameter; zeros at first. */
  tensor(name: string): Tensor {
    const known = this.tensors.get(name);
    if (known !== undefined && isLike(known, this.#parameter)) return known;
    const state = emptyLike(this.#parameter);
    if (known === undefined) backendFor(state).fill(operandOf(state), 0);
    else copyValues(known, state);
    known?.dispose();
    this.tensors.set(name, state);
    return state;
  }
}

/** Whether both have one dtype and one device. */
export function isLike(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && backendFor(a) === backendFor(b);
}

/** Room for values like the parameter's, owned by no scope. */
export function emptyLike(parameter: Tensor): Tensor {
  return allocate(backendFor(parameter), parameter.shape, parameter.dtype, "nobody");
}

/** Copies values between tensors of one size, converting them. Between devices they go through the host. */
export function copyValues(source: Tensor, target: Tensor): void {
  const backend = backendFor(target);
  if (backendFor(source) === backend) {
    if (source.dtype === target.dtype) backend.copy(operandOf(source), operandOf(target));
    else backend.cast(operandOf(source), operandOf(target));
  } else writeValues(target, source.dataSync());
}

/** Writes host values in the target's own dtype. */
export function writeValues(target: Tensor, values: ArrayLike<number>): void {
  const host = hostArray(target.dtype, sizeOf(target.shape));
  host.set(values);
  backendFor(target).write(operandOf(target), host);
}
