import { readFileSync } from "node:fs";
import { type Model, readModel, readSafetensors, rows, type Tensor } from "@exitkit/core-gpu";
import { type Batch, type CheckedBatch, plainBatch } from "../src/network/batches.ts";
import type { HeldOut } from "../src/network/hold-out.ts";

const folder = new URL("../fixtures/", import.meta.url);

/** Values that PyTorch and NumPy computed; see fixtures/generate.py. */
export interface Golden {
  readonly accuracy: { readonly train: number; readonly test: number };
  readonly logits: readonly number[][];
  readonly exits: readonly {
    readonly means: readonly number[][];
    readonly meanDistances: readonly number[];
    readonly rootMeanSquareDistances: readonly number[];
    readonly distances: readonly number[][];
    readonly confidences: Readonly<Record<"raw" | "normalised" | "perSampleMaximum", readonly number[]>>;
    readonly nearest: readonly number[];
    readonly nearestNormalised: readonly number[];
    readonly moments: {
      readonly features: readonly number[];
      readonly shrinkage: number;
      readonly scores: readonly number[][];
      readonly right: number;
    };
    readonly pooled: { readonly shrinkage: number; readonly scores: readonly number[][] };
  }[];
}

export const golden = JSON.parse(readFileSync(new URL("tiny.json", folder), "utf8")) as Golden;

/** Stem, three residual blocks, linear head: 3×8×8 samples, 4 classes. */
export function tinyModel(): Model {
  return readModel(readFileSync(new URL("tiny.onnx", folder)));
}

const { tensors } = readSafetensors(readFileSync(new URL("pictures.safetensors", folder)));

/** The samples in batches of `size`. */
export function batches(part: "train" | "test", size: number): Batch[] {
  const x = tensors[part] as Tensor<"float32">;
  const y = tensors[`${part}Labels`]!.data as Int32Array;
  const starts = Array.from({ length: Math.ceil(y.length / size) }, (_, index) => index * size);
  return starts.map((from) => {
    const to = Math.min(y.length, from + size);
    return { x: rows(x, from, to), y: y.subarray(from, to) };
  });
}

/** Copies of the batches that are left for training when some samples of a stream are held out. */
export async function trainedOn(held: HeldOut, stream: readonly Batch[]): Promise<CheckedBatch[]> {
  async function* checked() {
    for (const [index, batch] of stream.entries()) yield plainBatch("trainedOn", batch, index);
  }
  const left: CheckedBatch[] = [];
  for await (const { x, y } of held.trainOn(checked()))
    left.push({ x: { ...x, data: x.data.slice() }, y: Array.from(y) });
  return left;
}
