import { checkArguments } from "../arguments.ts";
import type { Device, Session } from "../device/device.ts";
import { InputError } from "../errors.ts";
import { ancestors, attributeOf, type GraphIndex, indexModel, isStandard } from "../onnx/graph.ts";
import { describeModel, type Model, type TensorInfo } from "../onnx/model.ts";
import type { NodeProto } from "../onnx/onnx_pb.ts";
import { addTaps } from "../onnx/taps.ts";
import { generator } from "../random.ts";
import { rows, sizeOf, type Tensor, tensor } from "../tensor.ts";

/** Whether the rows of a batch answer for themselves. */
export interface RowsInspection {
  /** `one` where the model runs on one sample at a time only. */
  readonly batches: "any" | "one";
  /** Whether a row answers the same alone and among others; true where there are no others. */
  readonly independent: boolean;
  /** The largest difference found, as a share of the largest answer. */
  readonly difference: number;
  /** The operator by which rows change each other; null where they do not, or where it is not found. */
  readonly culprit: { readonly operator: string; readonly name: string } | null;
  /** What the runtime said of a batch of several; null where it runs. */
  readonly refusal: string | null;
}

/** Trials: what the outputs of random rows are. */
export interface RowsTrial {
  readonly rows: RowsInspection;
  /** The outputs of the first row, or of all that ran. */
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Number of rows and outputs of every run. */
  readonly runs: readonly (readonly [number, Readonly<Record<string, Tensor>>])[];
}

const several = 3;
/** Half precision rounds by 1e-3; ranges of a batch move answers by far more. */
const tolerance = 2e-3;

/**
 * Runs a model on the same random rows alone and among others, at two batch sizes.
 *
 * @param shapes Shapes of the inputs for one sample; of other tensors too, those are searched for what mixes rows.
 * @param open A session of the model that is there already; it stays open.
 */
export async function tryRows(
  device: Device,
  model: Model,
  shapes: ReadonlyMap<string, readonly number[]>,
  open?: Session,
): Promise<RowsTrial> {
  checkArguments("core-gpu.onnx.tryRows", {
    device: [device, "an open device"],
    model: [model, "a model"],
    shapes: [shapes, "a map"],
  });
  const session = open ?? (await device.load(model));
  try {
    const inputs = describeModel(model).inputs;
    const alone = await session.run(feedsOf(inputs, shapes, 1));
    const fixed = inputs.some(({ shape }) => typeof shape[0] === "number");
    const one = { batches: "one", independent: true, difference: 0, culprit: null } as const;
    const runs = [[1, alone]] as const;
    if (fixed) return { rows: { ...one, refusal: null }, outputs: alone, runs };
    let among: Readonly<Record<string, Tensor>>;
    let two: Readonly<Record<string, Tensor>>;
    try {
      two = await session.run(feedsOf(inputs, shapes, 2));
      among = await session.run(feedsOf(inputs, shapes, several));
    } catch (error) {
      return { rows: { ...one, refusal: refusalOf(error) }, outputs: alone, runs };
    }
    const names = Object.keys(alone).filter((name) => isBatch(among[name]!, several) && isBatch(alone[name]!, 1));
    const difference = Math.max(
      0,
      ...names.flatMap((name) => [
        differenceOf(alone[name]!, rows(among[name]!, 0, 1)),
        differenceOf(two[name]!, rows(among[name]!, 0, 2)),
      ]),
    );
    const independent = difference <= tolerance;
    const culprit = independent ? null : (suspect(model) ?? (await culpritByTrial(device, model, shapes)));
    return {
      rows: { batches: "any", independent, difference, culprit, refusal: null },
      outputs: among,
      runs: [...runs, [2, two], [several, among]],
    };
  } finally {
    if (open === undefined) await session.release();
  }
}

/**
 * Compaction, and every calibrated threshold, need rows that answer the same in any company.
 *
 * @param fix What the caller can do besides exporting the network otherwise.
 * @throws InputError naming the operator by which they do not, or what refuses several rows.
 */
export function checkRows(caller: string, rows: RowsInspection, input: string, fix = ""): void {
  checkArguments("core-gpu.onnx.checkRows", {
    caller: [caller, "a string"],
    rows: [rows, { difference: "a number" }],
    input: [input, "a string"],
  });
  const cure = (words: string) => `${words} ${fix}`.trim();
  if (rows.refusal !== null) {
    throw new InputError(
      caller,
      "the model must take batches of any size",
      `"${input}": ${rows.refusal}`,
      cure(
        "Export the model with a dynamic first dimension everywhere (Reshape too), or state a batch of 1 in its input.",
      ),
    );
  }
  if (rows.independent) return;
  const { culprit } = rows;
  const by = culprit === null ? "an operator that was not found" : `${culprit.operator} node "${culprit.name}"`;
  throw new InputError(
    caller,
    "a sample's answer must not depend on the others of its batch",
    `a difference of ${Number((100 * rows.difference).toPrecision(2))} % of the largest score by ${by}`,
    cure(cureOf(culprit?.operator)),
  );
}

function cureOf(operator: string | undefined): string {
  if (operator === "BatchNormalization") return "Export the network in evaluation mode (model.eval()).";
  return operator?.startsWith("Dynamic") === true
    ? "Quantise it statically: a dynamic range depends on the other samples of the batch."
    : "Export it so that nothing is taken over the batch.";
}

/**
 * Refuses a graph with a node that is known to take something over the batch; where the model cannot be run to see.
 *
 * @throws InputError naming that operator.
 */
export function checkKnownRows(caller: string, model: Model, fix = ""): void {
  const culprit = suspect(model);
  if (culprit === null) return;
  const actual = `${culprit.operator} node "${culprit.name}", which takes something over the batch`;
  const cure = `${cureOf(culprit.operator)} ${fix}`.trim();
  throw new InputError(caller, "a sample's answer must not depend on the others of its batch", actual, cure);
}

/** The runtime's words are long: the node that refuses is what helps. */
function refusalOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const node = /running (\w+) node\. Name:'([^']{0,200})'/.exec(message);
  return node === null ? message : `${node[1]} node "${node[2]}" refuses several`;
}

/** n random rows, the first the same whatever n is; the others are larger, so that ranges of the batch are not its own. */
function feedsOf(
  inputs: readonly TensorInfo[],
  shapes: ReadonlyMap<string, readonly number[]>,
  n: number,
): Record<string, Tensor> {
  return Object.fromEntries(
    inputs.map(({ name, dtype }) => {
      const [, ...sample] = shapes.get(name) ?? [];
      const random = generator(20);
      const width = sizeOf(sample);
      const values = Array.from({ length: n * width }, (_, at) =>
        dtype.startsWith("float") ? random.normal() * (at < width ? 1 : 4) : random.integer(2),
      );
      const made = tensor(dtype as "float32", shapes.get(name)?.length === 0 ? [] : [n, ...sample]);
      for (let at = 0; at < made.data.length; at++)
        (made.data as unknown as (number | bigint)[])[at] = dtype === "int64" ? BigInt(values[at]!) : values[at]!;
      return [name, made as Tensor];
    }),
  );
}

const isBatch = ({ shape, dtype }: Tensor, n: number): boolean => shape[0] === n && dtype.startsWith("float");

function differenceOf(a: Tensor, b: Tensor): number {
  let [difference, largest] = [0, 0];
  a.data.forEach((value, at) => {
    const [x, y] = [Number(value), Number(b.data[at])];
    difference = Math.max(difference, Number.isNaN(x - y) && !Object.is(x, y) ? 1 : Math.abs(x - y) || 0);
    largest = Math.max(largest, Math.abs(x) || 0);
  });
  return difference / Math.max(largest, 1e-20);
}

const dynamic = /^Dynamic(Quantize|Time)/;

/** The first operator of the graph that is known to mix rows. */
function suspect(model: Model): RowsInspection["culprit"] {
  const index = indexModel("core-gpu.inspectModel", model);
  const nodes = ancestors(index, index.outputs).map((at) => index.graph.node[at]!);
  return named(nodes.find((node) => inTraining(node) || dynamic.test(node.opType)));
}

function inTraining(node: NodeProto): boolean {
  return node.opType === "BatchNormalization" && isStandard(node) && attributeOf(node, "training_mode")?.i === 1n;
}

const named = (node: NodeProto | undefined): RowsInspection["culprit"] =>
  node === undefined ? null : { operator: node.opType, name: node.name || node.output[0] || "" };

/** The first node whose float results differ, by looking at all of them. */
async function culpritByTrial(
  device: Device,
  model: Model,
  shapes: ReadonlyMap<string, readonly number[]>,
): Promise<RowsInspection["culprit"]> {
  const index = indexModel("core-gpu.inspectModel", model);
  const known = [...index.producer.keys()].filter((name) => shapes.get(name)?.[0] === 1);
  let session: Session;
  try {
    session = await device.load(addTaps(model, known), { optimization: "none" });
  } catch {
    return null;
  }
  try {
    const inputs = describeModel(model).inputs;
    const outputs = session.outputs.filter(({ dtype }) => dtype === "float32").map(({ name }) => name);
    const [one, two] = [
      await session.run(feedsOf(inputs, shapes, 1), { outputs }),
      await session.run(feedsOf(inputs, shapes, 2), { outputs }),
    ];
    return firstDifferent(index, one, two);
  } catch (error) {
    if (error instanceof InputError) return null;
    throw error;
  } finally {
    await session.release();
  }
}

function firstDifferent(
  { graph }: GraphIndex,
  one: Readonly<Record<string, Tensor>>,
  two: Readonly<Record<string, Tensor>>,
): RowsInspection["culprit"] {
  const differs = (name: string) => {
    const [a, b] = [one[name], two[name]];
    if (a === undefined || b === undefined || !isBatch(a, 1) || !isBatch(b, 2)) return false;
    return differenceOf(a, rows(b, 0, 1)) > tolerance;
  };
  return named(graph.node.find(({ output }) => output.some(differs)));
}
