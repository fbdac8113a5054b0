import {
  countMacs,
  type Device,
  describeModel,
  hashModel,
  InputError,
  type MacCount,
  type Model,
  macsUpTo,
  onnx,
  probeShapes,
  type TensorInfo,
} from "@exitkit/core-gpu";

/** What E²CM needs to know of a classifier. Plain data but for the model. */
export interface Network {
  readonly model: Model;
  /** sha256 of the model. */
  readonly hash: string;
  readonly opset: number;
  /** Name of the one input. */
  readonly input: string;
  /** Name of the output that holds the scores, [n, k]. */
  readonly output: string;
  /** Shape of every tensor for one sample (batch of one). */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  readonly count: MacCount;
}

/**
 * Checks that a model is a single-input classifier and finds its shapes by running it once; no operator needs to be known.
 *
 * @param classes k: the output's second dimension.
 * @throws InputError when the model has not one float32 input, or no float32 output [n, k].
 */
export async function inspectNetwork(caller: string, device: Device, model: Model, classes: number): Promise<Network> {
  if (model?.proto?.graph === undefined) {
    const fix = "Read the file first: await readModelFile(path).";
    throw new InputError(
      caller,
      "the model must be a Model",
      model instanceof Uint8Array ? "bytes" : typeof model,
      fix,
    );
  }
  const { inputs, outputs } = describeModel(model);
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
  const shapes = await probeShapes(device, model);
  const output = outputs.find(({ name, dtype }) => {
    const shape = shapes.get(name) ?? [];
    return dtype === "float32" && shape.length === 2 && shape[1] === classes;
  });
  if (output === undefined) {
    const found = outputs.map(({ name, dtype }) => `"${name}" ${dtype} [${(shapes.get(name) ?? []).join(", ")}]`);
    throw new InputError(
      caller,
      `the model needs a float32 output [n, ${classes}] of class scores`,
      found.length === 0 ? "no output" : found.join(", "),
      "Set `classes` to the number of scores the model gives.",
    );
  }
  return {
    model,
    hash: hashModel(model),
    opset: onnx.opsetOf(model),
    input: input.name,
    output: output.name,
    shapes,
    count: countMacs(model, shapes),
  };
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

/** MACs a sample that the plain network costs up to a tensor. */
export function backboneMacs(network: Network, tensor: string): number {
  return macsUpTo(network.model, network.count, [tensor]);
}
