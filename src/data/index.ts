/** Datasets, and the loader that makes batches of tensors of them. */
export {
  type Dataset,
  type Field,
  type HostTensor,
  type Source,
  Subset,
  TensorDataset,
} from "./dataset.ts";
export { type Batch, DataLoader, type DataLoaderOptions } from "./loader.ts";
export { MnistDataset, type MnistItem, type MnistOptions, mnist } from "./mnist.ts";
export {
  type Postfix,
  type Progress,
  type ProgressOptions,
  type ProgressStream,
  progress,
} from "./progress.ts";
