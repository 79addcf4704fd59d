import { bytes, copyEvery } from "./floats";

/**
 * How convolutions read images. A thread copies its part of an image into scratch, channel by channel, as phases: phase
 * (a, b) of a channel holds the pixels that the kernel taps (i, j) with i % phasesH = a and j % phasesW = b meet, so that
 * with any stride and dilation one tap of neighbouring outputs is a run of neighbouring floats. No im2col.
 *
 *   channel 0                            channel 1
 *   | phase (0, 0) | phase (0, 1) | .. | phase (0, 0) | ..      a phase is planeRows rows of `pitch` floats
 *
 * Output pixels are numbered in the same pitch: pixel p = row * pitch + column meets tap t at p + offsets[t]. The few
 * columns between the width of the output and the pitch are computed and dropped. The zeros that pad the left of a row
 * pad the right of the row before it too.
 */
export class ImagePlan {
  groups: i32;
  /** Taken into scratch together, all of one group. */
  channels: i32;
  H: i32;
  W: i32;
  strideH: i32;
  strideW: i32;
  dilationH: i32;
  dilationW: i32;
  /** Negative where the outputs begin inside the image. */
  paddingH: i32;
  paddingW: i32;
  phasesH: i32;
  phasesW: i32;
  planeRows: i32;
  pitch: i32;
  /** What one image takes in scratch, including what is read behind its last pixel. */
  imageFloats: i32;
}

/** Fills `image` with what the outputs from a row and column on meet of the channels at `x`, with zeros for padding. */
export function copyImage(
  plan: ImagePlan,
  x: usize,
  image: usize,
  channels: i32,
  firstRow: i32,
  firstColumn: i32,
): void {
  memory.fill(image, 0, bytes(plan.imageFloats));
  for (let a = 0; a < plan.phasesH; a++) {
    const residue = (a * plan.dilationH) % plan.strideH;
    const shiftH = firstRow * plan.strideH + residue - plan.paddingH;
    for (let b = 0; b < plan.phasesW; b++) {
      const residueW = (b * plan.dilationW) % plan.strideW;
      const shiftW = firstColumn * plan.strideW + residueW - plan.paddingW;
      copyPhase(plan, x, image, channels, shiftH, shiftW);
      image += bytes(plan.planeRows * plan.pitch);
    }
  }
}

/** Place (row, column) of the phase is pixel (row * strideH + shiftH, column * strideW + shiftW) of the image. */
function copyPhase(
  plan: ImagePlan,
  x: usize,
  phase: usize,
  channels: i32,
  shiftH: i32,
  shiftW: i32,
): void {
  const left = firstFrom(0, shiftW, plan.strideW);
  const top = firstFrom(0, shiftH, plan.strideH);
  const right = min(firstFrom(plan.W, shiftW, plan.strideW), plan.pitch);
  const bottom = min(firstFrom(plan.H, shiftH, plan.strideH), plan.planeRows);
  if (right <= left) return;
  x += bytes((top * plan.strideH + shiftH) * plan.W + left * plan.strideW + shiftW);
  phase += bytes(top * plan.pitch + left);
  const nextPlane = bytes(plan.phasesH * plan.phasesW * plan.planeRows * plan.pitch);
  for (let c = 0; c < channels; c++) {
    let from = x;
    let to = phase;
    for (let row = top; row < bottom; row++) {
      copyEvery(from, plan.strideW, to, right - left);
      from += bytes(plan.strideH * plan.W);
      to += bytes(plan.pitch);
    }
    x += bytes(plan.H * plan.W);
    phase += nextPlane;
  }
}

/** The first place of a phase whose pixel is not before `pixel`. */
function firstFrom(pixel: i32, shift: i32, stride: i32): i32 {
  return max(0, pixel - shift + stride - 1) / stride;
}
