/** Decoding images, by the optional package sharp. No type of it leaves this file: users need not have it. */
import type { OutputInfo, SharpOptions } from "sharp";
import { ArgumentError, DataError } from "../core/errors.ts";
import { pixelValues } from "./byte-images.ts";
import type { HostTensor } from "./dataset.ts";

type Sharp = typeof import("sharp")["default"];

/** Decodes one file: float32 (3, H, W) in 0-1. */
export type Decode = (path: string) => Promise<HostTensor>;

/**
 * How pixels are read: as they are stored, without an embedded colour profile, which PIL does not apply either. A cut or damaged
 * file is an error, as there; a mere oddity is none.
 */
const options: SharpOptions = { failOn: "error", ignoreIcc: true };

const values = pixelValues({});

/** The decoder, once sharp is loaded. Throws ArgumentError, saying how to install it, if it cannot be. */
export async function imageDecoder(op: string): Promise<Decode> {
  const sharp = await loadSharp(op);
  return (path) => decode(op, path, sharp);
}

async function loadSharp(op: string): Promise<Sharp> {
  // A name that bundlers cannot see: they would want to resolve it, installed or not.
  const name: string = "sharp";
  try {
    const { default: sharp } = (await import(/* @vite-ignore */ name)) as { default: Sharp };
    return sharp;
  } catch (cause) {
    throw new ArgumentError({
      op,
      expected: "the package sharp, which decodes the images",
      actual: cause instanceof Error ? cause.message.split("\n")[0] : String(cause),
      hint: "run: npm install sharp",
      cause,
    });
  }
}

async function decode(op: string, path: string, sharp: Sharp): Promise<HostTensor> {
  let decoded: { readonly data: Uint8Array; readonly info: OutputInfo };
  try {
    decoded = await sharp(path, options)
      .autoOrient()
      .removeAlpha()
      .toColourspace("srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
  } catch (cause) {
    throw new DataError({
      op,
      expected: `an image that can be decoded in ${path}`,
      actual: cause instanceof Error ? cause.message.replaceAll("\n", ", ") : String(cause),
      hint: "the file is damaged or of a kind that sharp does not read",
      cause,
    });
  }
  return planes(decoded.data, decoded.info);
}

/** Pixels side by side (H, W, channels) as planes (3, H, W); a single channel becomes all three. */
function planes(bytes: Uint8Array, info: OutputInfo): HostTensor {
  const { width, height, channels } = info;
  const size = width * height;
  const data = new Float32Array(3 * size);
  for (let c = 0; c < 3; c++) {
    const from = channels < 3 ? 0 : c;
    for (let i = 0; i < size; i++) data[c * size + i] = values[bytes[i * channels + from]];
  }
  return { data, shape: [3, height, width], dtype: "float32" };
}
