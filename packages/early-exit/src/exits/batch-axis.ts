import { addTaps, type Device, type DType, describeModel, InputError, onnx, type Tensor } from "@exitkit/core-gpu";
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
 * Finds out by running the network on 1, 2 and 3 rows which crossing tensors are to be compacted: those whose first
 * dimension is the batch. Others must be the same for every batch, or staged execution would not be exact. The rows that two runs
 * share must be answered alike.
 *
 * @param oneByOne One sample a run, whatever several would do.
 */
export async function probeBatchLayout(
  caller: string,
  device: Device,
  { input, exits }: ExitModel,
  { model, carried }: ExitStages,
  sampleShape: readonly number[] | undefined,
  oneByOne?: boolean,
): Promise<BatchLayout> {
  const { dtype, sample, fixedBatch: stated } = inputLayout(caller, describeInput(input, model), sampleShape);
  const fixedBatch = oneByOne === true ? 1 : stated;
  const crossing = [...new Set(carried.flat())].filter((name) => name !== input);
  const tapped = addTaps(model, crossing);
  const session = await device.load(tapped, { optimization: "none" });
  let trial: onnx.RowsTrial;
  try {
    trial = await onnx.tryRows(device, tapped, new Map([[input, [1, ...sample]]]), session);
  } finally {
    await session.release();
  }
  const runs = fixedBatch === null ? trial.runs.slice(1) : trial.runs.slice(0, 1);
  const own = oneByOne === undefined ? "" : "Or take one sample a call: oneByOne: true.";
  if (fixedBatch === null && trial.rows.refusal !== null) onnx.checkRows(caller, trial.rows, input, own);
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
  const [few, many] = runs.map(([n]) => n) as [number, number];
  const rowTensors = new Map<string, Layout>([[input, { dtype, shape: sample }]]);
  const others = new Map<string, Layout>();
  for (const name of crossing) {
    const [first, second] = runs.map(([, results]) => results[name]!) as [Tensor, Tensor];
    if (hasRows(first.shape, few, second.shape, many))
      rowTensors.set(name, { dtype: first.dtype, shape: first.shape.slice(1) });
    else if (equal(first, second)) others.set(name, whole(first));
    else {
      throw new InputError(
        caller,
        "a tensor that one stage hands to the next must have the batch as its first dimension or not depend on it",
        `"${name}" of shape [${first.shape.join(", ")}] for ${few} samples and [${second.shape.join(", ")}] for ${many}`,
        "Put the tap of an exit elsewhere in the network.",
      );
    }
  }
  onnx.checkRows(caller, trial.rows, input, own);
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

function checkAnswer(caller: string, what: string, name: string, wanted: DType, runs: onnx.RowsTrial["runs"]): void {
  for (const [n, results] of runs) {
    const { dtype, shape } = results[name]!;
    if (dtype === wanted && shape.length === 1 && shape[0] === n) continue;
    const actual = `${dtype} [${shape.join(", ")}] for n = ${n}`;
    throw new InputError(caller, `${what} "${name}" must be ${wanted} of shape [n]`, actual);
  }
}

function hasRows(a: readonly number[], few: number, b: readonly number[], many: number): boolean {
  return a.length === b.length && a[0] === few && b[0] === many && a.every((d, at) => at === 0 || d === b[at]);
}

function equal(a: Tensor, b: Tensor): boolean {
  return a.shape.join() === b.shape.join() && a.data.every((value, at) => Object.is(value, b.data[at]));
}
