/** VGG with batch norm, with torchvision's names, order, starting values and outputs. */
import { ReLU } from "../nn/activation.ts";
import { BatchNorm2d } from "../nn/batch-norm.ts";
import { type Layer, Sequential } from "../nn/container.ts";
import { Conv2d } from "../nn/conv.ts";
import { Dropout } from "../nn/dropout.ts";
import { Linear } from "../nn/linear.ts";
import { Module } from "../nn/module.ts";
import { AdaptiveAvgPool2d, MaxPool2d } from "../nn/pool.ts";
import { flatten } from "../ops/view.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { initConvolutions, initLinear } from "./init.ts";
import { checkedOptions, type DropoutModelOptions } from "./options.ts";

/** Channels of the convolutions, in groups with a max pool behind each. */
type Channels = readonly (readonly number[])[];

/** A plain network of 3x3 convolutions and three linear layers, by torchvision's names; `vgg11Bn` and `vgg16Bn` make one. */
export class VGG extends Module {
  static override readonly kind: string = "VGG";
  /** Convolutions, each with batch norm and ReLU, and max pools. */
  readonly features: Sequential;
  /** To 7 by 7, from whatever size the features have. */
  readonly avgpool: AdaptiveAvgPool2d;
  /** Three linear layers, with dropout between them. */
  classifier: Sequential;

  /** @internal */
  constructor(channels: Channels, { numClasses, dropout }: Required<DropoutModelOptions>) {
    super();
    this.features = featuresOf(channels);
    this.avgpool = new AdaptiveAvgPool2d([7, 7]);
    this.classifier = new Sequential(
      new Linear(512 * 7 * 7, 4096),
      new ReLU(),
      new Dropout(dropout),
      new Linear(4096, 4096),
      new ReLU(),
      new Dropout(dropout),
      new Linear(4096, numClasses),
    );
    initConvolutions(this);
    initLinear(this);
  }

  /** Shapes: x (N, 3, H, W) with H and W >= 32; returns (N, numClasses). */
  forward(x: Tensor): Tensor {
    return this.classifier(flatten(this.avgpool(this.features(x)), 1));
  }
}

function featuresOf(groups: Channels): Sequential {
  const layers: Layer[] = [];
  let inChannels = 3;
  for (const group of groups) {
    for (const channels of group) {
      // With a bias, though the batch norm takes it out again: torchvision's files have one.
      const conv = new Conv2d(inChannels, channels, 3, { padding: 1 });
      layers.push(conv, new BatchNorm2d(channels), new ReLU());
      inChannels = channels;
    }
    layers.push(new MaxPool2d(2, { stride: 2 }));
  }
  return new Sequential(...layers);
}

/**
 * VGG-11 with batch norm, untrained; torchvision's `vgg11_bn` state dicts load into it.
 *
 * Shapes: the model takes (N, 3, H, W) with H and W >= 32, usually 224, and returns (N, numClasses).
 * Cost: 133 million parameters, half a gigabyte, most of them in the first linear layer.
 * Throws: ArgumentError unless numClasses is a whole number >= 1 and 0 <= dropout <= 1.
 * Source: Simonyan and Zisserman 2014, arXiv:1409.1556.
 */
export function vgg11Bn(options: DropoutModelOptions = {}): VGG {
  const channels = [[64], [128], [256, 256], [512, 512], [512, 512]];
  return new VGG(channels, checkedOptions("models.vgg11Bn", options, 0.5));
}

/** VGG-16 with batch norm, otherwise as `vgg11Bn`. */
export function vgg16Bn(options: DropoutModelOptions = {}): VGG {
  const [three, last] = [
    [256, 256, 256],
    [512, 512, 512],
  ];
  const channels = [[64, 64], [128, 128], three, last, last];
  return new VGG(channels, checkedOptions("models.vgg16Bn", options, 0.5));
}
