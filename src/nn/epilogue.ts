/** What a normalization layer can do behind its affine step, in the same pass over the data. */
import type { Tensor } from "../tensor/tensor.ts";

/** y = relu(normalised + residual), each part optional. */
export interface Epilogue {
  readonly residual?: Tensor | null;
  readonly relu?: boolean;
}

/** Property of layers that have one: their forward, with an epilogue. Called by `batchNormRelu` alone. */
export const forwardWith: unique symbol = Symbol("forward with an epilogue");
