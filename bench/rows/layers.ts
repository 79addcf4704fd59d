/** The convolutions of ResNet-18 and ResNet-50 for images of 224 x 224, and how often each occurs in them. */
import type { ConvTask } from "../task.ts";

export interface Layer {
  readonly name: string;
  readonly sizes: Omit<ConvTask, "op" | "pass" | "batch" | "groups">;
  readonly resnet18: number;
  readonly resnet50: number;
}

export const layers: readonly Layer[] = [
  layer("7x7s2", [3, 64, 224], 1, 1),
  layer("3x3", [64, 64, 56], 4, 3),
  layer("3x3", [128, 128, 28], 3, 3),
  layer("3x3", [256, 256, 14], 3, 5),
  layer("3x3", [512, 512, 7], 3, 2),
  layer("3x3s2", [64, 128, 56], 1, 0),
  layer("3x3s2", [128, 256, 28], 1, 0),
  layer("3x3s2", [256, 512, 14], 1, 0),
  layer("3x3s2", [128, 128, 56], 0, 1),
  layer("3x3s2", [256, 256, 28], 0, 1),
  layer("3x3s2", [512, 512, 14], 0, 1),
  layer("1x1", [64, 64, 56], 0, 1),
  layer("1x1", [64, 256, 56], 0, 4),
  layer("1x1", [256, 64, 56], 0, 2),
  layer("1x1", [256, 128, 56], 0, 1),
  layer("1x1", [128, 512, 28], 0, 4),
  layer("1x1", [512, 128, 28], 0, 3),
  layer("1x1", [512, 256, 28], 0, 1),
  layer("1x1", [256, 1024, 14], 0, 6),
  layer("1x1", [1024, 256, 14], 0, 5),
  layer("1x1", [1024, 512, 14], 0, 1),
  layer("1x1", [512, 2048, 7], 0, 3),
  layer("1x1", [2048, 512, 7], 0, 2),
  layer("1x1s2", [64, 128, 56], 1, 0),
  layer("1x1s2", [128, 256, 28], 1, 0),
  layer("1x1s2", [256, 512, 14], 1, 0),
  layer("1x1s2", [256, 512, 56], 0, 1),
  layer("1x1s2", [512, 1024, 28], 0, 1),
  layer("1x1s2", [1024, 2048, 14], 0, 1),
];

/** `sizes` are channels, output channels and height; the kernel and the stride are in the name. */
function layer(
  name: string,
  sizes: readonly [number, number, number],
  resnet18: number,
  resnet50: number,
): Layer {
  const [channels, outChannels, size] = sizes;
  const kernel = Number(name[0]);
  const stride = name.endsWith("s2") ? 2 : 1;
  return { name, sizes: { channels, outChannels, size, kernel, stride }, resnet18, resnet50 };
}
