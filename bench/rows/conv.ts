import { type ConvTask, outSizeOf, type Pass, type PeerName, type Row } from "../task.ts";
import { type Layer, layers } from "./layers.ts";

export const batch = 8;

/** Channels, size and stride of depthwise convolutions of MobileNetV2. */
const depthwise = [
  [32, 112, 1],
  [96, 112, 2],
  [144, 56, 1],
  [384, 14, 1],
  [960, 7, 1],
] as const;
const allPasses = ["forward", "gradInput", "gradWeight"] as const;
const slowPeers: readonly PeerName[] = ["tfjs-wasm", "tfjs-cpu", "jax-js"];

export function convRows(threads: number): Row[] {
  const dense = layers.flatMap(({ name, sizes }) => rowsOf(name, { groups: 1, ...sizes }, threads));
  const others = depthwise.flatMap(([channels, size, stride]) => {
    const sizes = { channels, outChannels: channels, size, kernel: 3, stride, groups: channels };
    return rowsOf(stride === 1 ? "depthwise" : "depthwise s2", sizes, threads);
  });
  return [...dense, ...others];
}

type Sizes = Layer["sizes"] & { readonly groups: number };

function rowsOf(name: string, sizes: Sizes, threads: number): Row[] {
  // No image needs a gradient.
  const passes: readonly Pass[] = sizes.channels === 3 ? ["forward", "gradWeight"] : allPasses;
  return passes.map((pass) => rowOf(name, { op: "conv", pass, batch, ...sizes }, threads));
}

/** How a pass of a layer is called in the results. */
export function idOf(name: string, pass: Pass, { channels, outChannels, size }: Layer["sizes"]) {
  return `conv/${name} ${pass}/${channels}-${outChannels} ${size}x${size}`;
}

function rowOf(name: string, task: ConvTask, threads: number): Row {
  const { channels, outChannels, size, groups, kernel } = task;
  const isForAll = name === "3x3" && channels === 64;
  const outputs = batch * outChannels * outSizeOf(task) ** 2;
  return {
    id: idOf(name, task.pass, task),
    suite: "conv",
    task,
    threads,
    against: isForAll ? ["pytorch", ...slowPeers] : ["pytorch"],
    copyBytes: groups > 1 ? 4 * batch * channels * size * size : 0,
    flops: 2 * outputs * (channels / groups) * kernel * kernel,
    hasOwnProcess: false,
  };
}
