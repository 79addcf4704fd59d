/** ResNet with torchvision's names, order, starting values and outputs. */
import { ReLU } from "../nn/activation.ts";
import { BatchNorm2d } from "../nn/batch-norm.ts";
import { batchNormRelu } from "../nn/batch-norm-relu.ts";
import { Sequential } from "../nn/container.ts";
import { Conv2d } from "../nn/conv.ts";
import { Linear } from "../nn/linear.ts";
import { Module } from "../nn/module.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pool.ts";
import { flatten } from "../ops/view.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { initConvolutions, zeroWeight } from "./init.ts";
import { checkClasses, type ModelOptions } from "./options.ts";
import { BasicBlock, Bottleneck } from "./resnet-block.ts";

/** What a ResNet takes. */
export interface ResNetOptions extends ModelOptions {
  /** Begin with weight 0 in the last batch norm of every block, which then passes its input on. Default false. */
  readonly zeroInitResidual?: boolean;
}

type Block = typeof BasicBlock | typeof Bottleneck;

interface Architecture {
  readonly block: Block;
  /** Blocks in layer1 to layer4. */
  readonly depths: readonly [number, number, number, number];
}

interface Row {
  readonly inChannels: number;
  readonly channels: number;
  readonly depth: number;
  /** Of the first block; the others have 1. */
  readonly stride: number;
}

/** A residual network, by torchvision's names; `resnet18` and its like make one. */
export class ResNet extends Module {
  static override readonly kind: string = "ResNet";
  /** 7x7, stride 2. */
  readonly conv1: Conv2d;
  /** After conv1. */
  readonly bn1: BatchNorm2d;
  /** After bn1. */
  readonly relu: ReLU;
  /** 3x3, stride 2. */
  readonly maxpool: MaxPool2d;
  /** Blocks with 64 channels inside. */
  readonly layer1: Sequential;
  /** Blocks with 128 channels inside, at half the size. */
  readonly layer2: Sequential;
  /** Blocks with 256 channels inside, at a quarter of the size. */
  readonly layer3: Sequential;
  /** Blocks with 512 channels inside, at an eighth of the size. */
  readonly layer4: Sequential;
  /** The mean over height and width. */
  readonly avgpool: AdaptiveAvgPool2d;
  /** Features to classes; put another in its place to train for other classes. */
  fc: Linear;

  /** @internal */
  constructor({ block, depths }: Architecture, options: Required<ResNetOptions>) {
    super();
    const wide = (channels: number) => channels * block.expansion;
    this.conv1 = new Conv2d(3, 64, 7, { stride: 2, padding: 3, bias: false });
    this.bn1 = new BatchNorm2d(64);
    this.relu = new ReLU();
    this.maxpool = new MaxPool2d(3, { stride: 2, padding: 1 });
    const [one, two, three, four] = depths;
    this.layer1 = row(block, { inChannels: 64, channels: 64, depth: one, stride: 1 });
    this.layer2 = row(block, { inChannels: wide(64), channels: 128, depth: two, stride: 2 });
    this.layer3 = row(block, { inChannels: wide(128), channels: 256, depth: three, stride: 2 });
    this.layer4 = row(block, { inChannels: wide(256), channels: 512, depth: four, stride: 2 });
    this.avgpool = new AdaptiveAvgPool2d([1, 1]);
    this.fc = new Linear(wide(512), options.numClasses);
    initConvolutions(this);
    if (options.zeroInitResidual) {
      for (const module of this.modules()) if (isBlock(module)) zeroWeight(module.lastNorm);
    }
  }

  /** Shapes: x (N, 3, H, W); returns (N, numClasses). */
  forward(x: Tensor): Tensor {
    const stem = this.maxpool(batchNormRelu(this.bn1, this.relu, this.conv1(x)));
    const features = this.layer4(this.layer3(this.layer2(this.layer1(stem))));
    return this.fc(flatten(this.avgpool(features), 1));
  }
}

function isBlock(module: Module): module is BasicBlock | Bottleneck {
  return module instanceof BasicBlock || module instanceof Bottleneck;
}

/** Blocks one after the other, of which the first changes the channels and, by its stride, the size. */
function row(block: Block, { inChannels, channels, depth, stride }: Row): Sequential {
  const layers = [new block({ inChannels, channels, stride })];
  const rest = { inChannels: channels * block.expansion, channels, stride: 1 };
  while (layers.length < depth) layers.push(new block(rest));
  return new Sequential(...layers);
}

function resnet(op: string, architecture: Architecture, options: ResNetOptions): ResNet {
  const { numClasses = 1000, zeroInitResidual = false } = options;
  checkClasses(op, numClasses);
  return new ResNet(architecture, { numClasses, zeroInitResidual });
}

/**
 * ResNet-18, untrained; torchvision's `resnet18` state dicts load into it.
 *
 * Shapes: the model takes (N, 3, H, W), usually 224 by 224, and returns (N, numClasses).
 * Throws: ArgumentError unless numClasses is a whole number >= 1.
 * Source: He et al. 2015, arXiv:1512.03385.
 *
 * @example
 * const model = models.resnet18({ numClasses: 10 });
 */
export function resnet18(options: ResNetOptions = {}): ResNet {
  return resnet("models.resnet18", { block: BasicBlock, depths: [2, 2, 2, 2] }, options);
}

/** ResNet-34, otherwise as `resnet18`. */
export function resnet34(options: ResNetOptions = {}): ResNet {
  return resnet("models.resnet34", { block: BasicBlock, depths: [3, 4, 6, 3] }, options);
}

/** ResNet-50 in the form V1.5, as torchvision's: blocks stride in their 3x3 convolution. Otherwise as `resnet18`. */
export function resnet50(options: ResNetOptions = {}): ResNet {
  return resnet("models.resnet50", { block: Bottleneck, depths: [3, 4, 6, 3] }, options);
}

/** ResNet-101, otherwise as `resnet50`. */
export function resnet101(options: ResNetOptions = {}): ResNet {
  return resnet("models.resnet101", { block: Bottleneck, depths: [3, 4, 23, 3] }, options);
}

/** ResNet-152, otherwise as `resnet50`. */
export function resnet152(options: ResNetOptions = {}): ResNet {
  return resnet("models.resnet152", { block: Bottleneck, depths: [3, 8, 36, 3] }, options);
}
