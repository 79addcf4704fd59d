/** The graph: one node per recorded operation, and the walk that runs backward rules. First-order only. */
import { AutogradError, DTypeError, ShapeError } from "../core/errors.ts";
import { formatShape, sameShape } from "../core/shape.ts";
import { Ledger } from "./ledger.ts";
import type { Saved } from "./saved.ts";
import { gradEnabled, noGrad, runInScope } from "./scope.ts";
import { allocate, backendFor, operandOf, Tensor, viewOf } from "./tensor.ts";

/**
 * Gradients for the inputs of one operation from dy, the gradient of its output; null where `wants` is false. Rules use `Saved`s
 * and numbers, never a `Tensor`: its handle may have ended by then.
 */
export type BackwardRule = (
  dy: Tensor,
  wants: readonly boolean[],
) => readonly (Tensor | null | undefined)[];

export interface Recording {
  readonly saved: readonly Saved[];
  readonly rule: BackwardRule;
}

/** Where an input's gradient goes: on to the operation that made it, or into a leaf's `grad`. */
type Edge = GraphNode | Tensor | null;

let nextOrder = 0;

/** One recorded operation. Tensors and later nodes refer to it; what must be given back when none does is in its ledger. */
export class GraphNode {
  readonly op: string;
  /** Operations are numbered as they run, so that descending order is a valid backward order. */
  readonly order = nextOrder++;
  readonly ledger: Ledger;
  #edges: readonly Edge[];
  #recording: Recording | null;

  constructor(op: string, inputs: readonly (Tensor | null)[], recording: Recording) {
    this.op = op;
    this.#edges = inputs.map(edgeOf);
    this.#recording = recording;
    const below: Ledger[] = [];
    for (const edge of this.#edges) if (edge instanceof GraphNode) below.push(edge.ledger);
    this.ledger = new Ledger(
      recording.saved.map(({ claim }) => claim),
      below,
    );
  }

  get edges(): readonly Edge[] {
    return this.#edges;
  }

  checkSaved(): void {
    for (const saved of this.#recording?.saved ?? []) saved.check(this.op);
  }

  run(dy: Tensor): readonly (Tensor | null | undefined)[] {
    const wants = this.#edges.map((edge) => edge !== null);
    return this.#recording?.rule(dy, wants) ?? [];
  }

  /** Lets go of rule, edges and memory, whoever still refers to this node. */
  releaseSaved(): void {
    this.#edges = [];
    this.#recording = null;
    this.ledger.releaseClaims();
  }
}

function edgeOf(input: Tensor | null): Edge {
  if (input === null) return null;
  return input.node ?? (input.requiresGrad ? input : null);
}

/**
 * Makes `output` the result of `op` on `inputs`, when a graph is being recorded and some input needs it.
 * `describe` is called only then: what it saves costs nothing otherwise. Returns `output`.
 */
export function record(
  op: string,
  inputs: readonly (Tensor | null)[],
  output: Tensor,
  describe: () => Recording,
): Tensor {
  if (!gradEnabled() || !inputs.some((input) => input?.requiresGrad)) return output;
  output.node = new GraphNode(op, inputs, describe());
  output.holding.ledger = output.node.ledger;
  return output;
}

/** What becomes of the graph. */
export interface BackwardOptions {
  /** Keep what the graph saved, for another backward through it. Default false. */
  readonly retainGraph?: boolean;
}

/**
 * Adds the gradient of `root` with respect to every leaf that requires one to that leaf's `grad`.
 *
 * Unlike PyTorch: gradients have no graph of their own; a second derivative is an AutogradError.
 * Shapes: cotangent like root; it may be left out when root has one element (then it is 1).
 * Throws: AutogradError if root has no graph, if the graph was released by an earlier backward, or if a tensor that it needs was
 * overwritten since; ShapeError if the cotangent is missing or has another shape; DTypeError if it has another dtype or device. Nothing
 * is changed in these cases.
 */
export function backward(
  root: Tensor,
  cotangent?: Tensor,
  { retainGraph = false }: BackwardOptions = {},
): void {
  const seed = checkCotangent(root, cotangent);
  const start = edgeOf(root);
  if (start === null) rejectLeaf(root);
  noGrad(() =>
    runInScope("backward", () => {
      const dy = seed ?? onesLike(root);
      if (start instanceof GraphNode) walk(start, dy, retainGraph);
      else accumulate(start, viewOf(dy, dy.shape));
    }),
  );
}

function walk(start: GraphNode, seed: Tensor, retainGraph: boolean): void {
  const nodes = reachable(start);
  for (const node of nodes) node.checkSaved();
  // Held until their turn: releasing a node may let go of the last reference to one below it.
  for (const node of nodes) node.ledger.retain();
  const gradients = new Map<GraphNode, Tensor>([[start, seed]]);
  let done = 0;
  try {
    for (const node of nodes) {
      propagate(node, gradients, seed);
      if (!retainGraph) node.releaseSaved();
      node.ledger.release();
      done++;
    }
  } finally {
    for (const node of nodes.slice(done)) node.ledger.release();
  }
}

/** Runs one node's rule and hands its results on. */
function propagate(node: GraphNode, gradients: Map<GraphNode, Tensor>, seed: Tensor): void {
  const dy = gradients.get(node);
  if (dy === undefined) return;
  gradients.delete(node);
  const results = node.run(dy);
  node.edges.forEach((edge, i) => {
    const result = results[i];
    if (edge === null || !result) return;
    // One handle per receiver, so that each can end its own.
    const isShared = result === dy || results.indexOf(result) !== results.lastIndexOf(result);
    const gradient = isShared ? viewOf(result, result.shape) : result;
    if (edge instanceof GraphNode) pass(gradients, edge, gradient);
    else accumulate(edge, gradient);
  });
  if (dy !== seed) dy.dispose();
}

/** All nodes below `start`, latest first. Throws AutogradError when one was released. */
function reachable(start: GraphNode): GraphNode[] {
  const seen = new Set<GraphNode>([start]);
  for (const node of seen) {
    if (node.ledger.isReleased) {
      throw new AutogradError({
        op: "backward",
        expected: "a graph that still holds what its forward pass saved",
        actual: `one whose ${node.op} was released by an earlier backward`,
        hint: "pass { retainGraph: true } to the first of two backward calls",
      });
    }
    for (const edge of node.edges) if (edge instanceof GraphNode) seen.add(edge);
  }
  return [...seen].sort((a, b) => b.order - a.order);
}

function pass(gradients: Map<GraphNode, Tensor>, to: GraphNode, gradient: Tensor): void {
  const present = gradients.get(to);
  if (present === undefined) {
    gradients.set(to, gradient);
    return;
  }
  const [sum, other] = ownsMemory(present) ? [present, gradient] : [gradient, present];
  gradients.set(to, addTo(sum, other));
}

/** Whether nobody else sees a gradient's memory: otherwise it may be a rule's dy or a view of it, which others still read. */
function ownsMemory(gradient: Tensor): boolean {
  return !gradient.holding.storage.isShared;
}

/** sum + other; both end but for the result, which is `sum` where that is possible. */
function addTo(sum: Tensor, other: Tensor): Tensor {
  const backend = backendFor(sum);
  let result = sum;
  if (!ownsMemory(sum)) {
    result = allocate(backend, sum.shape, sum.dtype);
    backend.copy(operandOf(sum), operandOf(result));
    sum.dispose();
  }
  backend.addInto(operandOf(other), operandOf(result));
  other.dispose();
  return result;
}

/** leaf.grad += gradient. A gradient whose memory nobody else reads becomes the leaf's own without a copy. */
function accumulate(leaf: Tensor, gradient: Tensor): void {
  if (leaf.holding.endedBy !== null) return;
  const backend = backendFor(gradient);
  const { storage } = gradient.holding;
  const { shape, dtype } = leaf;
  if (leaf.grad !== null) {
    backend.addInto(operandOf(gradient), operandOf(leaf.grad));
    leaf.grad.holding.storage.markWritten("backward");
  } else if (!ownsMemory(gradient) || gradient.offset !== 0) {
    leaf.grad = allocate(backend, shape, dtype, "nobody");
    backend.copy(operandOf(gradient), operandOf(leaf.grad));
  } else {
    leaf.grad = new Tensor({ storage: storage.retain(), offset: 0, shape, dtype }, "nobody");
  }
  gradient.dispose();
}

function onesLike(t: Tensor): Tensor {
  const ones = allocate(backendFor(t), t.shape, t.dtype);
  backendFor(t).fill(operandOf(ones), 1);
  return ones;
}

/** The cotangent as a handle of this call, or null for the implicit 1. */
function checkCotangent(root: Tensor, cotangent: Tensor | undefined): Tensor | null {
  operandOf(root);
  if (cotangent === undefined) {
    if (root.size === 1) return null;
    throw new ShapeError({
      op: "backward",
      expected: "a tensor with one element, or a cotangent of the tensor's shape",
      actual: `shape ${formatShape(root.shape)} and no cotangent`,
      hint: "reduce it first: loss.mean().backward()",
    });
  }
  if (!sameShape(cotangent.shape, root.shape)) {
    throw new ShapeError({
      op: "backward",
      expected: `a cotangent of shape ${formatShape(root.shape)}`,
      actual: formatShape(cotangent.shape),
    });
  }
  if (cotangent.dtype !== root.dtype || cotangent.device !== root.device) {
    throw new DTypeError({
      op: "backward",
      expected: `a cotangent of ${root.dtype} on ${root.device}`,
      actual: `${cotangent.dtype} on ${cotangent.device}`,
    });
  }
  return cotangent;
}

function rejectLeaf(root: Tensor): never {
  throw new AutogradError({
    op: "backward",
    expected: "a tensor that requires grad",
    actual: `one of shape ${formatShape(root.shape)} that no parameter leads to`,
    hint: "was it made under noGrad(), detached, or by an operation without a gradient? Gradients themselves have no graph: first-order only",
  });
}
