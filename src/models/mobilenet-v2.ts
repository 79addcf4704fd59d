/** MobileNetV2 with torchvision's names, order, starting values and outputs. */
import { ReLU6 } from "../nn/activation.ts";
import { BatchNorm2d } from "../nn/batch-norm.ts";
import { type Layer, Sequential } from "../nn/container.ts";
import { Conv2d } from "../nn/conv.ts";
import { Dropout } from "../nn/dropout.ts";
import { Linear } from "../nn/linear.ts";
import { Module } from "../nn/module.ts";
import { add } from "../ops/elementwise.ts";
import { adaptiveAvgPool2d } from "../ops/pool.ts";
import { flatten } from "../ops/view.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { initConvolutions, initLinear } from "./init.ts";
import { checkedOptions, type DropoutModelOptions } from "./options.ts";

interface ConvSizes {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: 1 | 3;
  readonly stride?: number;
  readonly groups?: number;
}

interface ResidualSizes {
  readonly inChannels: number;
  readonly outChannels: number;
  readonly stride: number;
  /** Channels inside, as a multiple of those that come in. */
  readonly expansion: number;
}

/** Rows of blocks: the stride is that of the first block, the others have 1. */
const rows = [
  { expansion: 1, outChannels: 16, depth: 1, stride: 1 },
  { expansion: 6, outChannels: 24, depth: 2, stride: 2 },
  { expansion: 6, outChannels: 32, depth: 3, stride: 2 },
  { expansion: 6, outChannels: 64, depth: 4, stride: 2 },
  { expansion: 6, outChannels: 96, depth: 3, stride: 1 },
  { expansion: 6, outChannels: 160, depth: 3, stride: 2 },
  { expansion: 6, outChannels: 320, depth: 1, stride: 1 },
] as const;
const stemChannels = 32;
const lastChannels = 1280;

/** A convolution that keeps the size up to its stride, batch norm, and ReLU6. */
export class Conv2dNormActivation extends Sequential {
  static override readonly kind: string = "Conv2dNormActivation";

  /** @internal */
  constructor(sizes: ConvSizes) {
    const { inChannels, outChannels, kernelSize, stride = 1, groups = 1 } = sizes;
    const options = { stride, padding: (kernelSize - 1) / 2, groups, bias: false };
    super(
      new Conv2d(inChannels, outChannels, kernelSize, options),
      new BatchNorm2d(outChannels),
      new ReLU6(),
    );
  }
}

/** Widens by a 1x1 convolution, filters each channel by itself, narrows again, and adds what came in where that has the same shape. */
export class InvertedResidual extends Module {
  static override readonly kind: string = "InvertedResidual";
  /** The branch; there is no activation behind its last batch norm. */
  readonly conv: Sequential;
  /** Whether what came in is added. */
  readonly useResConnect: boolean;

  /** @internal */
  constructor({ inChannels, outChannels, stride, expansion }: ResidualSizes) {
    super();
    const inside = inChannels * expansion;
    const widen = { inChannels, outChannels: inside, kernelSize: 1 } as const;
    const layers: Layer[] = expansion === 1 ? [] : [new Conv2dNormActivation(widen)];
    layers.push(
      new Conv2dNormActivation({
        ...{ inChannels: inside, outChannels: inside, kernelSize: 3, stride, groups: inside },
      }),
      new Conv2d(inside, outChannels, 1, { bias: false }),
      new BatchNorm2d(outChannels),
    );
    this.conv = new Sequential(...layers);
    this.useResConnect = stride === 1 && inChannels === outChannels;
  }

  forward(x: Tensor): Tensor {
    const y = this.conv(x);
    return this.useResConnect ? add(x, y) : y;
  }
}

/** A network of inverted residuals, by torchvision's names; `mobilenetV2` makes one. */
export class MobileNetV2 extends Module {
  static override readonly kind: string = "MobileNetV2";
  /** A convolution, seventeen inverted residuals, and a 1x1 convolution. */
  readonly features: Sequential;
  /** Dropout and a linear layer. */
  classifier: Sequential;

  /** @internal */
  constructor({ numClasses, dropout }: Required<DropoutModelOptions>) {
    super();
    this.features = new Sequential(...featureLayers());
    this.classifier = new Sequential(new Dropout(dropout), new Linear(lastChannels, numClasses));
    initConvolutions(this);
    initLinear(this);
  }

  /** Shapes: x (N, 3, H, W); returns (N, numClasses). */
  forward(x: Tensor): Tensor {
    return this.classifier(flatten(adaptiveAvgPool2d(this.features(x), [1, 1]), 1));
  }
}

function featureLayers(): Layer[] {
  const stem = { inChannels: 3, outChannels: stemChannels, kernelSize: 3, stride: 2 } as const;
  const layers: Layer[] = [new Conv2dNormActivation(stem)];
  let inChannels: number = stemChannels;
  for (const { expansion, outChannels, depth, stride: first } of rows) {
    for (let i = 0; i < depth; i++) {
      const stride = i === 0 ? first : 1;
      layers.push(new InvertedResidual({ inChannels, outChannels, stride, expansion }));
      inChannels = outChannels;
    }
  }
  const last = { inChannels, outChannels: lastChannels, kernelSize: 1 } as const;
  return [...layers, new Conv2dNormActivation(last)];
}

/**
 * MobileNetV2, untrained; torchvision's `mobilenet_v2` state dicts load into it.
 *
 * Shapes: the model takes (N, 3, H, W), usually 224 by 224, and returns (N, numClasses).
 * Throws: ArgumentError unless numClasses is a whole number >= 1 and 0 <= dropout <= 1.
 * Source: Sandler et al. 2018, arXiv:1801.04381.
 */
export function mobilenetV2(options: DropoutModelOptions = {}): MobileNetV2 {
  return new MobileNetV2(checkedOptions("models.mobilenetV2", options, 0.2));
}
