import {
  countMacs,
  type Device,
  describeModel,
  hashModel,
  InputError,
  type Inspection,
  inspectModel,
  type MacCount,
  type Model,
  macsUpTo,
  onnx,
  probeShapes,
  proposeCuts,
  type TensorInfo,
} from "@exitkit/core-gpu";

/** Where class scores come from. Plain data. */
export interface ScoresFrom {
  /** Name of the file's output. */
  readonly output: string;
  /** What that output holds: logits, or what they are taken in front of. */
  readonly holds: Holds;
}

/** What an output may hold that class scores are taken from. */
export const HOLDS = ["logits", "logProbabilities", "probabilities", "sigmoid"] as const;
type Holds = (typeof HOLDS)[number];

/** What E²CM needs to know of a classifier. Plain data but for the model. */
export interface Network {
  /** With logits as its one output, and float32 forms of tensors of other floats; the nodes of the file are in it unchanged. */
  readonly model: Model;
  /** sha256 of what the file computes; see `identifyModel`. */
  readonly hash: string;
  /** sha256 of the file's whole message: what exits saved by older versions name. */
  readonly fileHash: string;
  readonly opset: number;
  /** Name of the one input. */
  readonly input: string;
  /** Name of the output that holds the scores as logits, [n, k]. */
  readonly output: string;
  /** Null: as older versions took them, the first output [n, k] whatever it holds. */
  readonly scoresFrom: ScoresFrom | null;
  /** Names of the float32 forms of tensors that are half precision or quantised. */
  readonly readable: ReadonlyMap<string, string>;
  /** Shape of every tensor for one sample (batch of one). */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly count: MacCount;
}

/** How the scores of a network are to be found. */
export interface ScoresSettings {
  /** Name of the output that is meant. Default: the only one with k scores. */
  readonly output?: string | undefined;
  /** What it holds, where graph and values do not say. */
  readonly scores?: "logits" | "probabilities" | undefined;
  /** As exits say that were fitted before; null: as older versions did. Goes before the others. */
  readonly as?: ScoresFrom | null | undefined;
}

/**
 * Checks that a model is a single-input classifier whose rows answer for themselves, finds where its logits are and its shapes;
 * no operator needs to be known.
 *
 * @param classes k: how many scores there are; two for one sigmoid.
 * @throws InputError when the model has not one float32 input, no float32 output [n, k] or several, scores that may be
 * probabilities, rows that change each other's answers, or a batch that is baked in.
 */
export async function inspectNetwork(
  caller: string,
  device: Device,
  model: Model,
  classes: number,
  settings: ScoresSettings = {},
): Promise<Network> {
  if (model?.proto?.graph === undefined) {
    const given: unknown = model;
    const promise = given instanceof Promise;
    const fix = promise ? "Await it." : "Read the file first: await readModelFile(path).";
    const actual = promise ? "a Promise" : given instanceof Uint8Array ? "bytes" : typeof given;
    throw new InputError(caller, "the model must be a Model", actual, fix);
  }
  const { inputs } = describeModel(model);
  const input = inputs[0];
  if (inputs.length !== 1 || input === undefined) {
    throw new InputError(
      caller,
      "the model must have exactly one input",
      inputs.length === 0 ? "none" : inputs.map(({ name }) => `"${name}"`).join(" and "),
      "Freeze the other inputs into initializers, or export the classifier alone.",
    );
  }
  if (input.dtype !== "float32") {
    throw new InputError(caller, "the model's input must be float32", `"${input.name}" is ${input.dtype}`);
  }
  checkInputShape(caller, input);
  const { as } = settings;
  const named = as?.output ?? settings.output;
  const said = as === undefined || as === null ? settings.scores : as.holds === "logits" ? "logits" : undefined;
  const inspection = await inspectModel(device, model, {
    ...(named === undefined ? {} : { output: named }),
    ...(said === undefined ? {} : { scores: said }),
  });
  onnx.checkRows(caller, inspection.rows, input.name);
  const chosen = outputOf(caller, inspection, classes, named, as === null);
  if (as === undefined) checkScores(caller, chosen, settings.scores);
  const kept = onlyOutputs(model, [chosen.name]);
  const logits =
    as === null
      ? { model: kept, output: chosen.name }
      : onnx.takeLogits(kept, chosen.name, chosen.scores, chosen.classes);
  const { model: read, names } = readableModel(caller, logits.model, inspection);
  const shapes = read === model ? inspection.shapes : await probeShapes(device, read);
  return {
    model: read,
    hash: inspection.identity,
    fileHash: hashModel(model),
    opset: onnx.opsetOf(model),
    input: input.name,
    output: logits.output,
    scoresFrom: as === null ? null : { output: chosen.name, holds: chosen.scores.kind as Holds },
    readable: names,
    shapes,
    count: countMacs(read, shapes),
  };
}

type Output = Inspection["outputs"][number];

/** The output with k class scores. @throws InputError on none, or on several of which none is named. */
function outputOf(
  caller: string,
  { outputs }: Inspection,
  classes: number,
  named: string | undefined,
  first: boolean,
): Output {
  const fits = ({ role, classes: k, scores }: Output) =>
    role === "classes" && (k === classes || (k === 1 && classes === 2 && scores.kind === "sigmoid"));
  const found = outputs.filter((output) => fits(output) && (named === undefined || output.name === named));
  const [chosen, ...others] = found;
  if (chosen === undefined) {
    const said = outputs.map(({ name, dtype, shape }) => `"${name}" ${dtype} [${shape.join(", ")}]`);
    const one = outputs.some(
      ({ role, classes: k, scores }) => role === "classes" && k === 1 && scores.kind === "sigmoid",
    );
    throw new InputError(
      caller,
      `the model needs a float32 output [n, ${classes}] of class scores`,
      said.length === 0 ? "no output" : said.join(", "),
      one
        ? "One sigmoid answers two classes: set `classes` to 2."
        : "Set `classes` to the number of scores the model gives.",
    );
  }
  if (others.length > 0 && !first) {
    const names = found.map(({ name }) => `"${name}"`).join(", ");
    const fix = `Say which: output: ${names.replaceAll(", ", " or ")}.`;
    throw new InputError(caller, `the model must have one output [n, ${classes}]`, names, fix);
  }
  return chosen;
}

/** Refuses scores of which it is not plain that they are logits or where logits are. */
function checkScores(caller: string, { name, scores }: Output, said: ScoresSettings["scores"]): void {
  if (scores.kind === "sigmoids") {
    const fix = "Exits choose one class: export the network without it, or with a softmax.";
    const actual = `"${name}" with a sigmoid for each class (${scores.node!.operator} node "${scores.node!.name}")`;
    throw new InputError(caller, "the output must hold scores of which one class is the largest", actual, fix);
  }
  if (said !== undefined || scores.kind !== "probabilities" || scores.node !== null) return;
  throw new InputError(
    caller,
    "it must be known whether the output holds logits",
    `"${name}", whose rows sum to 1 without a Softmax to be seen`,
    'Say so: scores: "probabilities", or "logits" where that is by chance.',
  );
}

/** The places the network can be cut at, where they are not float32, given a float32 form. */
function readableModel(caller: string, model: Model, { types }: Inspection): onnx.Readable {
  if (types.length === 1 && types[0] === "float32") return { model, names: new Map() };
  const { model: read, names } = onnx.readable(caller, model, proposeCuts(model));
  return { model: read, names: new Map([...names].filter(([tensor, name]) => tensor !== name)) };
}

/** Features and costs depend on the sample's shape, so it must be fixed; the batch must not be, or hold one sample. */
function checkInputShape(caller: string, { name, shape, unknownRank }: TensorInfo): void {
  const printed = unknownRank ? "an unknown rank" : `[${shape.map((size) => size ?? "?").join(", ")}]`;
  const [batch, ...sample] = shape;
  if (sample.length === 0 || sample.some((size) => typeof size !== "number")) {
    const fix = "Fix every dimension but the first when you export the model.";
    throw new InputError(caller, "the model's input must state the shape of a sample", `"${name}" ${printed}`, fix);
  }
  if (typeof batch === "number" && batch !== 1) {
    const fix = "Export the model with a dynamic first dimension.";
    throw new InputError(caller, "the model must take batches of any size", `"${name}" ${printed}`, fix);
  }
}

/** The model with some of its tensors' outputs left out; their types stay stated. */
export function onlyOutputs(model: Model, names: readonly string[]): Model {
  const graph = model.proto.graph!;
  const wanted = new Set(names);
  const stated = new Set(graph.valueInfo.map(({ name }) => name));
  const output = graph.output.filter(({ name }) => wanted.has(name));
  const former = graph.output.filter(({ name }) => !wanted.has(name) && !stated.has(name));
  const valueInfo = [...graph.valueInfo, ...former];
  return { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { output, valueInfo }) }) };
}

/** Shape of one sample of a tensor, the batch dimension left out. */
export function sampleShape(caller: string, network: Network, tensor: string): readonly number[] {
  const shape = network.shapes.get(tensor);
  if (shape === undefined || shape.length < 2 || shape[0] !== 1) {
    throw new InputError(
      caller,
      "an exit must read a tensor of the model whose first dimension is the batch",
      shape === undefined ? `"${tensor}", which is none` : `"${tensor}" [${shape.join(", ")}] for one sample`,
      `${onnx.suggestion(tensor, network.shapes.keys())} proposeCuts(model) lists the tensors after each block.`.trim(),
    );
  }
  return shape.slice(1);
}

/** What a tensor that exits are to read is called in the network: its float32 form, or the logits in front of the file's output. */
export function readTap({ readable, scoresFrom, output }: Network, tap: string): string {
  return tap === scoresFrom?.output ? output : (readable.get(tap) ?? tap);
}

/** MACs a sample that the plain network costs up to a tensor. */
export function backboneMacs(network: Network, tensor: string): number {
  return macsUpTo(network.model, network.count, [tensor]);
}
