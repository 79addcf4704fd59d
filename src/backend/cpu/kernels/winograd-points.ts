/**
 * Where the polynomials of F(4x4, 3x3) meet: 0, +-a, +-b and infinity (docs/adr/0015-winograd.md has the choice). With these
 * the transforms of inputs and of outputs have exact coefficients.
 */
export const a: f32 = 0.625;
export const b: f32 = 1.5;
/** Powers: squares, their sum and product, cubes. */
export const aa: f32 = a * a;
export const bb: f32 = b * b;
export const sum: f32 = aa + bb;
export const product: f32 = aa * bb;
export const aaa: f32 = aa * a;
export const bbb: f32 = bb * b;
/** One over the product of the differences between 0, a, b and the other points. */
export const atZero: f32 = <f32>(1.0 / 0.87890625);
export const atA: f32 = <f32>(1.0 / (2.0 * 0.390625 * (0.390625 - 2.25)));
export const atB: f32 = <f32>(1.0 / (2.0 * 2.25 * (2.25 - 0.390625)));

/**
 * Whether a tile with this many outputs in a row uses point i of 0, a, -a, b, -b and infinity. One of 3 does without -b, one of 2
 * without both, at the edges of planes that are no multiple of 4. Kernels are transformed for all points: what the missing
 * ones would have contributed to the others' factors is in the transform of the inputs.
 */
export function usesPoint(outputs: i32, i: i32): bool {
  return i <= outputs || i === 5;
}
