import { asTensor, InputError, type RuntimeTensor, sizeOf, type Tensor, type TensorInfo } from "@exitkit/core-gpu";
import { type Labels, labelsOf } from "@exitkit/early-exit";

/** Labelled samples that go through the network together. */
export interface Batch {
  /** What the network takes, float32, first dimension n. */
  readonly x: Tensor;
  /** The n classes, whole numbers from 0 to k − 1; for `recordScores` also −1, of no known class. */
  readonly y: ArrayLike<number>;
}

/** A {@link Batch} in other forms: `x` as a tensor of ONNX Runtime with its data on the CPU, `y` as bigints or an integer tensor. */
export interface RuntimeBatch {
  readonly x: Tensor | RuntimeTensor;
  readonly y: ArrayLike<number> | Labels;
}

/** A batch that was checked. */
export interface CheckedBatch extends Batch {
  readonly x: Tensor<"float32">;
}

/**
 * A stream of labelled batches, of any sizes (empty ones are passed over); every batch is done with before the next is
 * asked for, so its memory may be used again.
 */
export type Batches = AsyncIterable<Batch | RuntimeBatch> | Iterable<Batch | RuntimeBatch>;

/** Whether a value can be read with `for await`. */
export function isIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && (Symbol.asyncIterator in value || Symbol.iterator in value);
}

/**
 * Refuses a batch whose rows and labels do not fit the network's input, each other or the number of classes, and
 * samples that are not finite (a network can swallow a NaN: ReLU and max pooling may make a number of it).
 *
 * @param input The network's input, as its session states it.
 * @param index Place of the batch in its stream, from 0.
 * @param least The smallest label there may be: 0, or −1 where samples of no known class may come.
 * @returns The batch, its labels as numbers.
 */
export function checkBatch(
  caller: string,
  batch: Batch | RuntimeBatch,
  input: TensorInfo,
  classes: number,
  index: number,
  least: 0 | -1 = 0,
): CheckedBatch {
  const x = asTensor(batch?.x);
  const y = numbersOf(caller, batch?.y, index);
  const shape: readonly number[] = x?.shape ?? [];
  const fits =
    shape.length === input.shape.length &&
    input.shape.every((size, axis) => typeof size !== "number" || size === shape[axis]);
  if (x?.dtype !== "float32" || !(x.data instanceof Float32Array) || !fits) {
    const wanted = input.shape.map((size, axis) => (typeof size === "number" ? size : axis === 0 ? "n" : "?"));
    const got = x === undefined || x === null ? "no x" : `${x.dtype ?? typeof x} [${shape.join(", ")}]`;
    throw new InputError(
      caller,
      `x of every batch must be a float32 tensor [${wanted.join(", ")}], as the model's input is`,
      `${got} in batch ${index}`,
      'Make one with tensor("float32", shape, data).',
    );
  }
  if (x.data.length !== sizeOf(shape)) {
    const needed = `x of batch ${index} has shape [${shape.join(", ")}] and needs ${sizeOf(shape)} elements`;
    throw new InputError(caller, needed, `${x.data.length}`);
  }
  checkLabels(caller, y, shape[0]!, classes, index, least);
  if (allFinite(x.data)) return { x: x as Tensor<"float32">, y };
  const bad = x.data.findIndex((value) => !Number.isFinite(Math.fround(value * value)));
  throw new InputError(
    caller,
    "samples must be finite, and their squares too",
    `${x.data[bad]} in row ${Math.floor(bad / sizeOf(shape.slice(1)))} of batch ${index}`,
    "Check how that sample was decoded and normalised.",
  );
}

/** The batches of a stream, each checked as it comes; empty ones are passed over. See {@link checkBatch}. */
export async function* checkedBatches(
  caller: string,
  batches: Batches,
  input: TensorInfo,
  classes: number,
): AsyncIterable<CheckedBatch> {
  let index = 0;
  for await (const batch of batches) {
    const checked = checkBatch(caller, batch, input, classes, index++);
    if (checked.y.length > 0) yield checked;
  }
}

/** A batch in our own form, of a stream that was checked before. */
export function plainBatch(caller: string, { x, y }: Batch | RuntimeBatch, index: number): CheckedBatch {
  return { x: asTensor(x) as Tensor<"float32">, y: numbersOf(caller, y, index) };
}

/** Labels as numbers: bigints and tensors are read, anything else is left to be checked as it is. */
function numbersOf(caller: string, y: RuntimeBatch["y"], index: number): ArrayLike<number> {
  const plain = !(y instanceof BigInt64Array || y instanceof BigUint64Array) && typeof y === "object" && y !== null;
  if (y === undefined || y === null || (plain && "length" in y)) return y as ArrayLike<number>;
  return labelsOf(caller, `labels of batch ${index}`, y as Labels);
}

/** Every sample of every pass comes by here: a plain loop, many times faster than a callback for each value. */
function allFinite(values: Float32Array): boolean {
  let zero = 0;
  for (let index = 0; index < values.length; index++) zero += Math.fround(values[index]! * values[index]!) * 0;
  return zero === 0;
}

function checkLabels(
  caller: string,
  y: ArrayLike<number>,
  n: number,
  classes: number,
  index: number,
  least: number,
): void {
  if (y?.length !== n) {
    throw new InputError(caller, `batch ${index} has ${n} rows and needs as many labels`, `${y?.length ?? "none"}`);
  }
  for (let i = 0; i < n; i++) {
    const label = y[i]!;
    if (Number.isInteger(label) && label >= least && label < classes) continue;
    throw new InputError(
      caller,
      `labels must be whole numbers from ${least} to ${classes - 1}`,
      `${label} at row ${i} of batch ${index}`,
      "Set `classes` to the number of classes the labels have.",
    );
  }
}
