/** The residual blocks that resnet.ts puts in rows. */
import { ReLU } from "../nn/activation.ts";
import { BatchNorm2d } from "../nn/batch-norm.ts";
import { batchNormRelu } from "../nn/batch-norm-relu.ts";
import { Sequential } from "../nn/container.ts";
import { Conv2d } from "../nn/conv.ts";
import { Module } from "../nn/module.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What a block is made from: channels that come in, channels inside, and from one window to the next. */
export interface BlockSizes {
  readonly inChannels: number;
  readonly channels: number;
  readonly stride: number;
}

/** A 3x3 convolution with padding 1, or a 1x1 convolution; without bias, since a batch norm follows. */
function convWithoutBias(sizes: BlockSizes, kernelSize: 1 | 3): Conv2d {
  const { inChannels, channels, stride } = sizes;
  const padding = kernelSize === 3 ? 1 : 0;
  return new Conv2d(inChannels, channels, kernelSize, { stride, padding, bias: false });
}

/** What fits the input to the block's output: null where they have one shape. */
function downsampleOf({ inChannels, channels, stride }: BlockSizes, expansion: number) {
  const outChannels = channels * expansion;
  if (stride === 1 && inChannels === outChannels) return null;
  const conv = convWithoutBias({ inChannels, channels: outChannels, stride }, 1);
  return new Sequential(conv, new BatchNorm2d(outChannels));
}

/** Two 3x3 convolutions with batch norm, added to what came in: the block of ResNet-18 and 34. */
export class BasicBlock extends Module {
  static override readonly kind: string = "BasicBlock";
  /** Channels of the result, as a multiple of those inside. */
  static readonly expansion: number = 1;
  /** 3x3, with the block's stride. */
  readonly conv1: Conv2d;
  /** After conv1. */
  readonly bn1: BatchNorm2d;
  /** After bn1, and at the end. */
  readonly relu = new ReLU();
  /** 3x3. */
  readonly conv2: Conv2d;
  /** After conv2; the last of the branch. */
  readonly bn2: BatchNorm2d;
  /** A 1x1 convolution and batch norm on the way around; null where the input fits as it is. */
  readonly downsample: Sequential | null;

  /** @internal */
  constructor(sizes: BlockSizes) {
    super();
    const { channels } = sizes;
    this.conv1 = convWithoutBias(sizes, 3);
    this.bn1 = new BatchNorm2d(channels);
    this.conv2 = convWithoutBias({ inChannels: channels, channels, stride: 1 }, 3);
    this.bn2 = new BatchNorm2d(channels);
    this.downsample = downsampleOf(sizes, BasicBlock.expansion);
  }

  /** The last batch norm of the branch. */
  get lastNorm(): BatchNorm2d {
    return this.bn2;
  }

  forward(x: Tensor): Tensor {
    const { bn1, bn2, relu } = this;
    const y = batchNormRelu(bn1, relu, this.conv1(x));
    const branch = this.conv2(y);
    const around = this.downsample === null ? x : this.downsample(x);
    return batchNormRelu(bn2, relu, branch, { residual: around });
  }
}

/**
 * A 1x1, a 3x3 and a 1x1 convolution with batch norm, added to what came in: the block of ResNet-50 and deeper. The stride is that of
 * the 3x3 convolution, as in torchvision (known as V1.5), not of the first as in the paper.
 */
export class Bottleneck extends Module {
  static override readonly kind: string = "Bottleneck";
  /** Channels of the result, as a multiple of those inside. */
  static readonly expansion: number = 4;
  /** 1x1. */
  readonly conv1: Conv2d;
  /** After conv1. */
  readonly bn1: BatchNorm2d;
  /** 3x3, with the block's stride. */
  readonly conv2: Conv2d;
  /** After conv2. */
  readonly bn2: BatchNorm2d;
  /** 1x1, to four times the channels. */
  readonly conv3: Conv2d;
  /** After conv3; the last of the branch. */
  readonly bn3: BatchNorm2d;
  /** After bn1 and bn2, and at the end. */
  readonly relu = new ReLU();
  /** A 1x1 convolution and batch norm on the way around; null where the input fits as it is. */
  readonly downsample: Sequential | null;

  /** @internal */
  constructor(sizes: BlockSizes) {
    super();
    const { inChannels, channels, stride } = sizes;
    const outChannels = channels * Bottleneck.expansion;
    this.conv1 = convWithoutBias({ inChannels, channels, stride: 1 }, 1);
    this.bn1 = new BatchNorm2d(channels);
    this.conv2 = convWithoutBias({ inChannels: channels, channels, stride }, 3);
    this.bn2 = new BatchNorm2d(channels);
    this.conv3 = convWithoutBias({ inChannels: channels, channels: outChannels, stride: 1 }, 1);
    this.bn3 = new BatchNorm2d(outChannels);
    this.downsample = downsampleOf(sizes, Bottleneck.expansion);
  }

  /** The last batch norm of the branch. */
  get lastNorm(): BatchNorm2d {
    return this.bn3;
  }

  forward(x: Tensor): Tensor {
    const { bn1, bn2, bn3, relu } = this;
    const narrow = batchNormRelu(bn1, relu, this.conv1(x));
    const y = batchNormRelu(bn2, relu, this.conv2(narrow));
    const branch = this.conv3(y);
    const around = this.downsample === null ? x : this.downsample(x);
    return batchNormRelu(bn3, relu, branch, { residual: around });
  }
}
