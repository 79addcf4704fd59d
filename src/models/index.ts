export type { Conv2dNormActivation, InvertedResidual, MobileNetV2 } from "./mobilenet-v2.ts";
export { mobilenetV2 } from "./mobilenet-v2.ts";
export type { DropoutModelOptions, ModelOptions } from "./options.ts";
export type { ResNet, ResNetOptions } from "./resnet.ts";
export { resnet18, resnet34, resnet50, resnet101, resnet152 } from "./resnet.ts";
export type { BasicBlock, Bottleneck } from "./resnet-block.ts";
export type { VGG } from "./vgg.ts";
export { vgg11Bn, vgg16Bn } from "./vgg.ts";
