import { readFileSync } from "node:fs";
import {
  type Device,
  generator,
  type Model,
  ops,
  programToModel,
  readModel,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { Batch } from "../src/network/batches.ts";

const folder = new URL("../../core-gpu/fixtures/onnx/", import.meta.url);

/** One of core-gpu's example networks: 3×32×32 samples, 10 classes (`two-inputs` takes a mask too). */
export function exampleNetwork(name: string): Model {
  return readModel(readFileSync(new URL(`${name}.onnx`, folder)));
}

/** Random pictures: a pattern of each class beside noise. */
export function randomPictures(n: number, seed: number, classes = 10, shape: readonly number[] = [3, 32, 32]): Batch[] {
  const size = shape.reduce((a, b) => a * b);
  const patterns = generator(1);
  const pattern = Array.from({ length: classes }, () => Array.from({ length: size }, () => patterns.normal()));
  const random = generator(seed);
  const batches: Batch[] = [];
  for (let from = 0; from < n; from += 10) {
    const y = Array.from({ length: Math.min(10, n - from) }, (_, i) => (from + i) % classes);
    const data = y.flatMap((label) => pattern[label]!.map((value) => value + random.normal()));
    batches.push({ x: tensor("float32", [y.length, ...shape], data), y });
  }
  return batches;
}

/** A network from a traced function of x [n, ...shape]; its record's keys name the tensors, `logits` [n, k] is the output. */
export function network(shape: readonly number[], make: (x: Value) => Record<string, Value>): Model {
  return programToModel(trace(({ x }) => make(x), { x: spec("float32", ["n", ...shape]) }));
}

/** Weights that are random but always the same. */
export function weights(rows: number, columns: number, seed = 1): Tensor<"float32"> {
  const random = generator(seed);
  return tensor(
    "float32",
    [rows, columns],
    Array.from({ length: rows * columns }, () => random.normal() / Math.sqrt(rows)),
  );
}

/** Two layers 4 → 6 → 3: tensors `first` [n, 6] and `logits` [n, 3]. */
export function twoLayers(more: (first: Value, x: Value) => Record<string, Value> = () => ({})): Model {
  return network([4], (x) => {
    const first = ops.relu(ops.matmul(x, weights(4, 6)));
    return { logits: ops.matmul(ops.mul(first, 2), weights(6, 3)), first, ...more(first, x) };
  });
}

/** A device that counts the sessions that are open. */
export function counting(device: Device): Device & { readonly open: () => number } {
  let open = 0;
  return {
    ...device,
    open: () => open,
    load: async (model, options) => {
      const session = await device.load(model, options);
      open += 1;
      return {
        ...session,
        release: async () => {
          open -= 1;
          await session.release();
        },
      };
    },
  };
}
