/** Datasets, transforms of their items, and the loader that makes batches of tensors of them. */
export type { AbortOptions } from "./abort.ts";
export type { ImageItem, PixelOptions } from "./byte-images.ts";
export { CifarDataset, type CifarOptions, type CifarParts, cifar10, cifar100 } from "./cifar.ts";
export {
  type Dataset,
  defaultCollate,
  type Field,
  type HostTensor,
  map,
  type Source,
  Subset,
  TensorDataset,
} from "./dataset.ts";
export type { Size } from "./image.ts";
export {
  ImageFolderDataset,
  type ImageFolderOptions,
  type ImageSample,
  imageFolder,
} from "./image-folder.ts";
export { type Batch, type CollateOption, DataLoader, type DataLoaderOptions } from "./loader.ts";
export type { DataLoaderState } from "./loader-state.ts";
export {
  MnistDataset,
  type MnistItem,
  type MnistOptions,
  type MnistParts,
  mnist,
} from "./mnist.ts";
export {
  type Postfix,
  type Progress,
  type ProgressOptions,
  type ProgressStream,
  progress,
} from "./progress.ts";
/** Changes to images (C, H, W) before they are batched, as in torchvision. */
export * as transforms from "./transform.ts";
