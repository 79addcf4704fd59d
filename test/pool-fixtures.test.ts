import { nn } from "../src/index.ts";
import { testOperations } from "./support/op-fixtures.ts";

const f = nn.functional;

/** A size is an array of one number per axis in some cases. Options that a case lacks are left out. */
interface Options {
  readonly kernelSize: number;
  readonly stride: number;
  readonly padding: number;
  readonly dilation: number;
  readonly ceilMode: boolean;
  readonly countIncludePad: boolean;
  readonly divisorOverride: number;
  readonly outputSize: number;
}

const returnIndices = true;

testOperations<Options>("pooling", {
  maxPool1d: ({ x }, { kernelSize, ...options }) => f.maxPool1d(x, kernelSize, options),
  maxPool2d: ({ x }, { kernelSize, ...options }) => f.maxPool2d(x, kernelSize, options),
  maxPool3d: ({ x }, { kernelSize, ...options }) => f.maxPool3d(x, kernelSize, options),
  maxPool1dWithIndices: ({ x }, { kernelSize, ...options }) =>
    f.maxPool1d(x, kernelSize, { ...options, returnIndices }),
  maxPool2dWithIndices: ({ x }, { kernelSize, ...options }) =>
    f.maxPool2d(x, kernelSize, { ...options, returnIndices }),
  maxPool3dWithIndices: ({ x }, { kernelSize, ...options }) =>
    f.maxPool3d(x, kernelSize, { ...options, returnIndices }),
  avgPool1d: ({ x }, { kernelSize, ...options }) => f.avgPool1d(x, kernelSize, options),
  avgPool2d: ({ x }, { kernelSize, ...options }) => f.avgPool2d(x, kernelSize, options),
  avgPool3d: ({ x }, { kernelSize, ...options }) => f.avgPool3d(x, kernelSize, options),
  adaptiveAvgPool1d: ({ x }, { outputSize }) => f.adaptiveAvgPool1d(x, outputSize),
  adaptiveAvgPool2d: ({ x }, { outputSize }) => f.adaptiveAvgPool2d(x, outputSize),
  adaptiveAvgPool3d: ({ x }, { outputSize }) => f.adaptiveAvgPool3d(x, outputSize),
  adaptiveMaxPool1d: ({ x }, { outputSize }) => f.adaptiveMaxPool1d(x, outputSize),
  adaptiveMaxPool2d: ({ x }, { outputSize }) => f.adaptiveMaxPool2d(x, outputSize),
  adaptiveMaxPool3d: ({ x }, { outputSize }) => f.adaptiveMaxPool3d(x, outputSize),
  adaptiveMaxPool1dWithIndices: ({ x }, { outputSize }) =>
    f.adaptiveMaxPool1d(x, outputSize, { returnIndices }),
  adaptiveMaxPool2dWithIndices: ({ x }, { outputSize }) =>
    f.adaptiveMaxPool2d(x, outputSize, { returnIndices }),
  adaptiveMaxPool3dWithIndices: ({ x }, { outputSize }) =>
    f.adaptiveMaxPool3d(x, outputSize, { returnIndices }),
});
