import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../arguments.ts";
import type { Device } from "../device/device.ts";
import { InputError } from "../errors.ts";
import type { DType, Tensor } from "../tensor.ts";
import { tensor } from "../tensor.ts";
import { changed, indexModel, tensorNames } from "./graph.ts";
import type { Model, TensorInfo } from "./model.ts";
import { describeModel, opsetOf } from "./model.ts";
import { list, quoted, suggestion, uniqueName } from "./names.ts";
import { NodeProtoSchema, TensorProto_DataType } from "./onnx_pb.ts";
import { elementTypes, valueInfo } from "./types.ts";

/**
 * Shape of every tensor of a model's graph, found by running the model once on zeros with a Shape node on everything:
 * right for any operator the device can run, and only shapes are copied out.
 *
 * @param inputShapes Shapes of the inputs, by name. Default: the shape the file states, with 1 for every dimension that
 * is symbolic or not stated.
 * @returns Shapes by tensor name: inputs, initializers and what nodes make. Values that are not tensors (sequences) and
 * tensors inside the bodies of If, Loop and Scan are left out.
 * @throws InputError on an unknown input name, a shape that contradicts the file's, an input of unknown rank without a
 * shape, an element type that host tensors cannot hold, or when the model does not run on these shapes.
 */
export async function probeShapes(
  device: Device,
  model: Model,
  inputShapes: Readonly<Record<string, readonly number[]>> = {},
): Promise<ReadonlyMap<string, readonly number[]>> {
  const caller = "core-gpu.probeShapes";
  checkArguments(caller, { device: [device, "an open device"] });
  const { inputs, initializers } = describeModel(model);
  const names = inputs.map(({ name }) => name);
  for (const name of Object.keys(inputShapes)) {
    if (!names.includes(name)) {
      throw new InputError(caller, "inputShapes must name inputs of the model", quoted(name), suggestion(name, names));
    }
  }
  if (opsetOf(model) === 0) {
    throw new InputError(caller, "the model must import the standard operator set", "only others");
  }
  const feeds = Object.fromEntries(inputs.map((input) => [input.name, zeros(caller, input, inputShapes[input.name])]));
  const shapes = new Map<string, readonly number[]>(initializers.map(({ name, shape }) => [name, shape.map(Number)]));
  for (const [name, { shape }] of Object.entries(feeds)) shapes.set(name, shape);
  const probe = withShapeNodes(caller, model);
  const session = await device.load(probe.model, { optimization: "none" });
  try {
    const results = await session.run(feeds);
    for (const [name, output] of probe.outputs) {
      shapes.set(name, Array.from(results[output]!.data as BigInt64Array, Number));
    }
  } finally {
    await session.release();
  }
  return shapes;
}

/** The model with the shape of each tensor as its outputs. */
function withShapeNodes(caller: string, model: Model): { model: Model; outputs: ReadonlyMap<string, string> } {
  const index = indexModel(caller, model);
  const { graph } = index;
  const taken = tensorNames(index);
  const types = elementTypes(graph);
  const outputs = new Map<string, string>();
  for (const name of index.producer.keys()) {
    if (types.get(name) !== 0) outputs.set(name, uniqueName(`${name}/shape`, taken));
  }
  const shapes = [...outputs].map(([name, output]) =>
    create(NodeProtoSchema, { opType: "Shape", input: [name], output: [output] }),
  );
  const output = [...outputs.values()].map((name) =>
    valueInfo(graph, name, new Map([[name, TensorProto_DataType.INT64]])),
  );
  // Former outputs stay in value_info: their types may be stated nowhere else.
  const stated = new Set(graph.valueInfo.map(({ name }) => name));
  const probing = changed(graph, {
    node: [...graph.node, ...shapes],
    output,
    valueInfo: [
      ...graph.valueInfo,
      ...graph.output.filter(({ name }) => index.producer.has(name) && !stated.has(name)),
    ],
  });
  return { model: { proto: changed(model.proto, { graph: probing }) }, outputs };
}

const held: readonly string[] = ["float32", "float64", "int32", "int64", "uint8", "bool"] satisfies DType[];

function zeros(caller: string, input: TensorInfo, given: readonly number[] | undefined): Tensor {
  const { name, dtype, shape } = input;
  if (!held.includes(dtype)) {
    throw new InputError(caller, `input ${quoted(name)} must hold one of ${held.join(", ")}`, dtype);
  }
  const stated = input.unknownRank === true ? undefined : shape;
  const fits = (dims: readonly number[]) =>
    stated === undefined ||
    (dims.length === stated.length && stated.every((size, at) => typeof size !== "number" || size === dims[at]));
  if (given !== undefined && !fits(given)) {
    const expected = `inputShapes.${name} must fit [${shape.map((size) => size ?? "?").join(", ")}]`;
    throw new InputError(caller, expected, `[${given.join(", ")}]`);
  }
  const dims = given ?? stated?.map((size) => (typeof size === "number" ? size : 1));
  if (dims === undefined) {
    const fix = `Pass inputShapes: { ${list([name])}: [...] }.`;
    throw new InputError(caller, `input ${quoted(name)} needs a shape`, "a model that does not state its rank", fix);
  }
  return tensor(dtype as DType, dims) as Tensor;
}
