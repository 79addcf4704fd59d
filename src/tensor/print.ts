/** Tensors as text, for consoles. */
import { formatShape } from "../core/shape.ts";
import { type NestedValues, nest } from "./nest.ts";
import type { Tensor } from "./tensor.ts";

/** More elements than this are not listed. */
const mostElements = 64;

/** `tensor([[1, 2], [3, 4]], shape (2, 2), float32, cpu)`; values only of small tensors on devices that read synchronously. */
export function formatTensor(t: Tensor): string {
  const { holding, shape, dtype, device, requiresGrad } = t;
  const facts = [`shape ${formatShape(shape)}`, dtype, device];
  if (requiresGrad) facts.push("requires grad");
  if (holding.endedBy !== null) facts.push(`ended by ${holding.endedBy}`);
  else if (t.size <= mostElements && holding.storage.backend.readsSynchronously) {
    facts.unshift(formatNested(nest(t.dataSync(), shape, dtype)));
  }
  return `tensor(${facts.join(", ")})`;
}

function formatNested(values: NestedValues): string {
  if (Array.isArray(values)) return `[${values.map(formatNested).join(", ")}]`;
  return typeof values === "number" ? String(Number(values.toPrecision(5))) : String(values);
}
