/** ONNX Runtime as a peer: inference of the models that PyTorch exports, whose batch norms are folded on the way. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { type InferTask, sizeOf, type Task } from "../task.ts";
import { load, randomValues, versionOf } from "./packages.ts";
import { CannotError, type Job, serve } from "./serve.ts";

interface Session {
  readonly inputNames: readonly string[];
  run(feeds: Readonly<Record<string, object>>): Promise<object>;
}

interface OnnxRuntime {
  readonly Tensor: new (type: "float32", values: Float32Array, shape: readonly number[]) => object;
  readonly InferenceSession: {
    create(path: string, options: { readonly intraOpNumThreads: number }): Promise<Session>;
  };
}

const folder = "build/bench-models";
const ort = load<OnnxRuntime>("onnxruntime-node");

async function prepare(task: Task, threads: number): Promise<Job> {
  if (task.op !== "infer") throw new CannotError("it does no training");
  const session = await ort.InferenceSession.create(exported(task), { intraOpNumThreads: threads });
  const shape = [task.batch, 3, task.size, task.size];
  const x = new ort.Tensor("float32", randomValues(sizeOf(shape)), shape);
  const [input = ""] = session.inputNames;
  return async () => {
    await session.run({ [input]: x });
  };
}

/** The model's file, exported once. */
function exported({ model, batch, size }: InferTask): string {
  const path = `${folder}/${model}-${batch}x3x${size}x${size}.onnx`;
  if (existsSync(path)) return path;
  const python = process.env.EVENKEEL_PYTHON;
  if (!python) throw new CannotError("EVENKEEL_PYTHON, which exports its models, is not set");
  mkdirSync(folder, { recursive: true });
  const args = ["bench/peers/export_onnx.py", model, `${batch}`, `${size}`, path];
  const { status, stderr, error } = spawnSync(python, args, { encoding: "utf8" });
  const reason = error?.message ?? stderr.trim().split("\n").at(-1);
  if (status !== 0) throw new CannotError(`no model was exported: ${reason}`);
  return path;
}

await serve({ versions: { onnxruntime: versionOf("onnxruntime-node") }, prepare });
