import {
  addTaps,
  type Device,
  type DType,
  describeModel,
  InputError,
  sizeOf,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import type { ExitModel } from "./exits.ts";
import type { ExitStages } from "./stages.ts";

/** Dtype and shape: of one row where a tensor has a row for every sample, else of the whole. */
interface Layout {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** What a network takes, and which of the tensors that cross between stages have a row for every sample. */
export interface BatchLayout {
  readonly dtype: DType;
  /** Shape of one sample, without the batch dimension. */
  readonly sampleShape: readonly number[];
  /** The only batch size the model takes, or null when it takes any. */
  readonly fixedBatch: number | null;
  /** Crossing tensors with a row for every sample. The others do not depend on the batch. */
  readonly rowTensors: ReadonlyMap<string, Layout>;
  /** The others that cross, all of them for a model that takes one sample at a time, its input left out. */
  readonly others: ReadonlyMap<string, Layout>;
}

/**
 * Finds out by running the network on 2 and on 3 samples which crossing tensors are to be compacted: those whose first
 * dimension is the batch. Others must be the same for every batch, or staged execution would not be exact.
 */
export async function probeBatchLayout(
  caller: string,
  device: Device,
  { input, exits }: ExitModel,
  { model, carried }: ExitStages,
  sampleShape: readonly number[] | undefined,
): Promise<BatchLayout> {
  const { dtype, sample, fixedBatch } = inputLayout(caller, describeInput(input, model), sampleShape);
  const crossing = [...new Set(carried.flat())].filter((name) => name !== input);
  const session = await device.load(addTaps(model, crossing), { optimization: "none" });
  let runs: readonly (readonly [number, Record<string, Tensor>])[];
  try {
    const sizes = fixedBatch === null ? [2, 3] : [fixedBatch];
    runs = await Promise.all(
      sizes.map(async (n) => [n, await session.run({ [input]: pattern(dtype, [n, ...sample]) })] as const),
    );
  } finally {
    await session.release();
  }
  for (const { confidence, prediction } of exits) {
    checkAnswer(caller, "confidence", confidence, "float32", runs);
    checkAnswer(caller, "prediction", prediction, "int64", runs);
  }
  const whole = ({ dtype, shape }: Tensor): Layout => ({ dtype, shape });
  if (fixedBatch !== null) {
    // A batch that cannot shrink is never compacted: its one sample goes on or not.
    const others = new Map(crossing.map((name) => [name, whole(runs[0]![1][name]!)]));
    return { dtype, sampleShape: sample, fixedBatch, rowTensors: new Map(), others };
  }
  const rowTensors = new Map<string, Layout>([[input, { dtype, shape: sample }]]);
  const others = new Map<string, Layout>();
  for (const name of crossing) {
    const [first, second] = runs.map(([, results]) => results[name]!) as [Tensor, Tensor];
    if (hasRows(first.shape, second.shape)) rowTensors.set(name, { dtype: first.dtype, shape: first.shape.slice(1) });
    else if (equal(first, second)) others.set(name, whole(first));
    else {
      throw new InputError(
        caller,
        "a tensor that one stage hands to the next must have the batch as its first dimension or not depend on it",
        `"${name}" of shape [${first.shape.join(", ")}] for 2 samples and [${second.shape.join(", ")}] for 3`,
        "Put the tap of an exit elsewhere in the network.",
      );
    }
  }
  return { dtype, sampleShape: sample, fixedBatch, rowTensors, others };
}

function describeInput(input: string, model: ExitStages["model"]) {
  return describeModel(model).inputs.find(({ name }) => name === input)!;
}

function inputLayout(caller: string, info: ReturnType<typeof describeInput>, given: readonly number[] | undefined) {
  const { name, shape, unknownRank } = info;
  const dtype = info.dtype as DType;
  if (!["float32", "float64", "int32", "int64", "uint8", "bool"].includes(dtype)) {
    throw new InputError(caller, `input "${name}" must have a dtype that a host tensor holds`, dtype);
  }
  const printed = unknownRank ? "unknown rank" : `[${shape.map((size) => size ?? "?").join(", ")}]`;
  if (!unknownRank && shape.length === 0) {
    throw new InputError(caller, `input "${name}" must have the batch as its first dimension`, "a scalar");
  }
  const stated = unknownRank ? undefined : shape.slice(1);
  if (given !== undefined) {
    const fits =
      stated === undefined ||
      (stated.length === given.length && stated.every((size, at) => typeof size !== "number" || size === given[at]));
    if (!fits)
      throw new InputError(caller, `sampleShape must fit input "${name}", ${printed}`, `[${given.join(", ")}]`);
  } else if (stated === undefined || stated.some((size) => typeof size !== "number")) {
    const fix = "Pass sampleShape: the shape of one sample, without the batch dimension.";
    throw new InputError(caller, `the shape of a sample of input "${name}" must be known`, printed, fix);
  }
  const batch = unknownRank ? null : shape[0];
  if (typeof batch === "number" && batch !== 1) {
    const fix = "Export the model with a symbolic (dynamic) batch dimension.";
    throw new InputError(caller, `the batch dimension of input "${name}" must be symbolic or 1`, printed, fix);
  }
  const sample = given ?? (stated as readonly number[]);
  return { dtype, sample, fixedBatch: typeof batch === "number" ? batch : null };
}

/** Samples that differ from one another and from batch to batch; 0 and 1 for whole numbers, which may be indices. */
function pattern(dtype: DType, shape: readonly number[]): Tensor {
  const wave = (at: number) => Math.sin(1 + at * 0.7 + shape[0]!);
  const values = Array.from({ length: sizeOf(shape) }, (_, at) => wave(at));
  return tensor(
    dtype,
    shape,
    dtype.startsWith("float") ? values : values.map((value) => (value > 0 ? 1 : 0)),
  ) as Tensor;
}

function checkAnswer(
  caller: string,
  what: string,
  name: string,
  wanted: DType,
  runs: readonly (readonly [number, Record<string, Tensor>])[],
): void {
  for (const [n, results] of runs) {
    const { dtype, shape } = results[name]!;
    if (dtype === wanted && shape.length === 1 && shape[0] === n) continue;
    const actual = `${dtype} [${shape.join(", ")}] for n = ${n}`;
    throw new InputError(caller, `${what} "${name}" must be ${wanted} of shape [n]`, actual);
  }
}

function hasRows(two: readonly number[], three: readonly number[]): boolean {
  return (
    two.length === three.length && two[0] === 2 && three[0] === 3 && two.every((d, at) => at === 0 || d === three[at])
  );
}

function equal(a: Tensor, b: Tensor): boolean {
  return a.shape.join() === b.shape.join() && a.data.every((value, at) => Object.is(value, b.data[at]));
}
