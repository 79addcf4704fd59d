import { Tensor } from "../tensor/tensor.ts";

/**
 * A tensor that a module learns: found in the module's properties by itself, owned by no scope, requiring grad.
 * It takes over the memory of `source`, which must not be used for something else afterwards.
 */
export class Parameter extends Tensor {
  constructor(source: Tensor, requiresGrad = true) {
    const { storage } = source.holding;
    super(
      {
        storage: storage.retain(),
        offset: source.offset,
        shape: source.shape,
        dtype: source.dtype,
      },
      "nobody",
    );
    this.requiresGrad = requiresGrad;
  }
}
