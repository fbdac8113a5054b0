import { type Generator, tensor } from "@exitkit/core-gpu";
import type { StatesBatch } from "../src/index.ts";

/** Windows of random tokens with random states, [n, t, d]: no model, but the shapes of one. */
export function randomBatch(
  random: Generator,
  size: { readonly n: number; readonly t: number; readonly d: number; readonly v: number; readonly last?: number },
): StatesBatch {
  const { n, t, d, v, last } = size;
  const normals = (width: number, offset: number) =>
    tensor(
      "float32",
      [n, t, width],
      Float32Array.from({ length: n * t * width }, () => random.normal() + offset),
    );
  return {
    states: normals(d, 3),
    tokens: Int32Array.from({ length: n * t }, () => random.integer(v)),
    ...(last === undefined ? {} : { last: normals(last, -1) }),
  };
}

/** Largest difference, relative to the largest magnitude of the expected values. */
export function relative(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]!));
    worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!));
  }
  return scale === 0 ? worst : worst / scale;
}
