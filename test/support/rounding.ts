import { input, type KernelCase, output } from "./kernel-case.ts";
import { normals } from "./random.ts";

/** The operands of a case with normal values in float32, the image's as a ReLU leaves them if asked for, in either precision. */
export function withNormals(kernelCase: KernelCase, out: string, isRectified: boolean) {
  const names = Object.keys(kernelCase.given);
  const values = new Map(
    names.map((name, seed) => {
      const normal = Float32Array.from(normals(kernelCase.given[name].values.length, seed + 1));
      const isImage = name === "x" || (name === "dy" && !names.includes("x"));
      return [name, isImage && isRectified ? normal.map((value) => Math.max(0, value)) : normal];
    }),
  );
  return (bits: 32 | 64): KernelCase["given"] =>
    Object.fromEntries(
      [...values].map(([name, each]) => {
        const dtype = `float${bits}` as const;
        return [name, name === out ? output(each.length, dtype) : input(each, dtype)];
      }),
    );
}

export function rootMeanSquare(values: ArrayLike<number>): number {
  const squares = Array.from(values, (value) => value ** 2);
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}
