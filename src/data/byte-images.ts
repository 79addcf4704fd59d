import { type Shape, sizeOf } from "../core/shape.ts";
import type { Dataset, HostTensor } from "./dataset.ts";

/** One image (channels, rows, columns) and its label. */
export type ImageItem = [image: HostTensor, label: number];

/** How pixels come out of a dataset. */
export interface PixelOptions {
  /** Divide pixels by 255, so that they lie in 0-1 (as torchvision's ToTensor does); false leaves 0-255. Default true. */
  readonly scale?: boolean;
}

/** The float32 of every byte: a look-up, where a division would run 100,352 times for 128 images of 28 x 28. */
export function pixelValues({ scale = true }: PixelOptions): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: 256 }, (_, byte) => (scale ? byte / 255 : byte));
}

/** Images that stay bytes in memory, a quarter of what float32 takes, and become float32 item by item or batch by batch. */
export class ByteImages implements Dataset<ImageItem> {
  readonly length: number;
  readonly #pixels: Uint8Array;
  readonly #labels: Uint8Array;
  readonly #shape: Shape;
  readonly #values: Float32Array;

  constructor(
    pixels: Uint8Array,
    labels: Uint8Array,
    options: PixelOptions & { readonly shape: Shape },
  ) {
    this.length = labels.length;
    this.#pixels = pixels;
    this.#labels = labels;
    this.#shape = options.shape;
    this.#values = pixelValues(options);
  }

  at(index: number): ImageItem {
    const [image] = this.gather(Uint32Array.of(index));
    return [{ ...image, shape: this.#shape }, this.#labels[index]];
  }

  gather(indices: Uint32Array): [HostTensor, HostTensor] {
    const size = sizeOf(this.#shape);
    const pixels = this.#pixels;
    const values = this.#values;
    const images = new Float32Array(indices.length * size);
    const labels = new Int32Array(indices.length);
    for (let place = 0; place < indices.length; place++) {
      const from = indices[place] * size;
      const to = place * size;
      for (let i = 0; i < size; i++) images[to + i] = values[pixels[from + i]];
      labels[place] = this.#labels[indices[place]];
    }
    return [
      { data: images, shape: [indices.length, ...this.#shape], dtype: "float32" },
      { data: labels, shape: [indices.length], dtype: "int32" },
    ];
  }
}
