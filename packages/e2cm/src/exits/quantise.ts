import { checkArguments } from "@exitkit/core-gpu";
import type { FittedExit, OutputExit } from "./exits.ts";
import type { FittedExits } from "./fitted-exits.ts";
import { FITTED } from "./fitted-exits.ts";

/** A matrix as 8-bit whole numbers with one scale a class: value ≈ (code − 128)·scale. */
export interface Quantised {
  /** Row-major as the matrix was; 1 to 255, 128 is zero. */
  readonly codes: Uint8Array;
  /** [k]: largest magnitude of the class ÷ 127. */
  readonly scales: Float32Array;
}

/**
 * Quantises a matrix to int8, symmetrically, class by class.
 *
 * @param classOf The class that the number at an index belongs to.
 */
export function quantise(matrix: Float32Array, classes: number, classOf: (index: number) => number): Quantised {
  const scales = new Float32Array(classes);
  matrix.forEach((value, index) => {
    const label = classOf(index);
    scales[label] = Math.max(scales[label]!, Math.abs(value) / 127);
  });
  const codes = Uint8Array.from(matrix, (value, index) => {
    const scale = scales[classOf(index)]!;
    return 128 + (scale === 0 ? 0 : Math.round(Math.max(-127, Math.min(127, value / scale))));
  });
  return { codes, scales };
}

/** The float32 matrix that codes and scales stand for. */
export function dequantise({ codes, scales }: Quantised, classOf: (index: number) => number): Float32Array {
  return Float32Array.from(codes, (code, index) => (code - 128) * scales[classOf(index)]!);
}

/** The matrix of an exit and whose class each of its numbers is: means [k, d] row by row, weights [d, k] column by column. */
export function matrixOf(exit: OutputExit): {
  matrix: Float32Array;
  classes: number;
  classOf: (index: number) => number;
} {
  if (exit.metric === "euclidean") {
    const classes = exit.distances.length;
    const d = exit.means.length / classes;
    return { matrix: exit.means, classes, classOf: (index) => Math.floor(index / d) };
  }
  const classes = exit.bias.length;
  return { matrix: exit.weights, classes, classOf: (index) => index % classes };
}

/**
 * The same exits with their means (or weights) rounded to int8 precision, class by class: what a file saved with
 * `precision: "int8"` holds after loading. A quarter of the bytes, nothing else changes.
 *
 * Source: the thesis' future work, named by the authors as future work [S]; the scheme [D].
 */
export function quantisedExits(fitted: FittedExits): FittedExits {
  checkArguments("e2cm.quantisedExits", { fitted: [fitted, FITTED] });
  return { ...fitted, exits: fitted.exits.map(quantisedExit) };
}

function quantisedExit(exit: FittedExit): FittedExit {
  const { matrix, classes, classOf } = matrixOf(exit);
  const rounded = dequantise(quantise(matrix, classes, classOf), classOf);
  return exit.metric === "euclidean" ? { ...exit, means: rounded } : { ...exit, weights: rounded };
}
