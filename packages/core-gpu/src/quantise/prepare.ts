import { changed, indexModel, isStandard } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import type { NodeProto, TensorProto } from "../onnx/onnx_pb.ts";
import { TensorProto_DataType } from "../onnx/onnx_pb.ts";
import { subgraphs } from "../onnx/reads.ts";
import { foldBatchNorm } from "../program/fold.ts";
import { constantTensor, hostTensor } from "../program/import/weights.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { floatOf, floats, intOf } from "./graph-parts.ts";

/**
 * The same network with weights that are initializers (not Constant or Identity nodes), without Dropout, and with every batch
 * normalisation behind a convolution folded into it.
 */
export function prepare(caller: string, model: Model): Model {
  return foldBatchNorms(caller, plainWeights(caller, model));
}

function plainWeights(caller: string, model: Model): Model {
  const { graph, outputs } = indexModel(caller, model);
  const renamed = new Map<string, string>();
  const initializer = [...graph.initializer];
  const weights = new Set(initializer.map(({ name }) => name));
  const kept: NodeProto[] = [];
  for (const node of graph.node) {
    const output = node.output[0] ?? "";
    const input = node.input[0] ?? "";
    const value = constantTensor(caller, node);
    if (value?.dtype === "float32" && !outputs.includes(output)) {
      initializer.push(floats(output, value.shape, value.data));
      weights.add(output);
    } else if (passesOn(node, weights) && !outputs.includes(output)) {
      renamed.set(output, renamed.get(input) ?? input);
    } else kept.push(changed(node, { input: node.input.map((name) => renamed.get(name) ?? name) }));
  }
  // What the bodies of If, Loop and Scan capture keeps its name.
  if (renamed.size > 0 && hasBodies(graph.node)) return model;
  return { proto: changed(model.proto, { graph: changed(graph, { node: kept, initializer }) }) };
}

function passesOn(node: NodeProto, weights: ReadonlySet<string>): boolean {
  const { opType, output, input } = node;
  if (!isStandard(node)) return false;
  if (opType === "Identity") return weights.has(input[0] ?? "");
  return opType === "Dropout" && (input[2] ?? "") === "" && (output[1] ?? "") === "";
}

function hasBodies(nodes: readonly NodeProto[]): boolean {
  return nodes.some((node) => subgraphs(node).length > 0);
}

/** Conv → BatchNormalization, where nobody else reads the convolution, becomes one convolution of the latter's output. */
function foldBatchNorms(caller: string, model: Model): Model {
  const index = indexModel(caller, model);
  const { graph, consumers, producer, outputs } = index;
  const values = new Map(graph.initializer.map((weight) => [weight.name, weight]));
  const float = (name: string | undefined): Tensor<"float32"> | undefined => {
    const weight = values.get(name ?? "");
    return weight === undefined || weight.dataType !== TensorProto_DataType.FLOAT
      ? undefined
      : (hostTensor(caller, weight) as Tensor<"float32">);
  };
  const nodes: (NodeProto | undefined)[] = [...graph.node];
  const added: TensorProto[] = [];
  const taken = new Set([...values.keys(), ...producer.keys(), ...graph.input.map(({ name }) => name)]);
  graph.node.forEach((norm, at) => {
    if (norm.opType !== "BatchNormalization" || !isStandard(norm)) return;
    if (intOf(norm, "training_mode", 0) !== 0 || norm.output.slice(1).some((name) => name !== "")) return;
    const from = norm.input[0]!;
    const place = producer.get(from);
    const conv = place === undefined ? undefined : nodes[place];
    if (conv?.opType !== "Conv" || !isStandard(conv)) return;
    if (consumers.get(from)!.length > 1 || outputs.includes(from)) return;
    const [scale, bias, mean, variance] = norm.input.slice(1).map(float);
    const weight = float(conv.input[1]);
    const own = conv.input[2] === undefined || conv.input[2] === "" ? undefined : float(conv.input[2]);
    if (!weight || !scale || !bias || !mean || !variance || (conv.input[2] && !own)) return;
    const epsilon = floatOf(norm, "epsilon", 1e-5);
    const folded = foldBatchNorm(
      { weight, bias: own ?? tensor("float32", [weight.shape[0]!]) },
      { scale, bias, mean, variance },
      { epsilon },
    );
    const name = (stem: string): string => {
      let free = `${norm.output[0]}/${stem}`;
      while (taken.has(free)) free += "_";
      taken.add(free);
      return free;
    };
    const [w, b] = [name("weight"), name("bias")];
    added.push(floats(w, folded.weight.shape, folded.weight.data), floats(b, folded.bias.shape, folded.bias.data));
    nodes[place!] = undefined;
    nodes[at] = changed(conv, { input: [conv.input[0]!, w, b], output: [norm.output[0]!] });
  });
  const node = nodes.filter((entry) => entry !== undefined);
  const used = new Set([...node.flatMap(({ input }) => input), ...outputs]);
  const dead = (name: string) => index.weights.has(name) && index.consumers.has(name) && !used.has(name);
  const captures = hasBodies(graph.node);
  const initializer = [...graph.initializer, ...added].filter(({ name }) => captures || !dead(name));
  const input = graph.input.filter(({ name }) => captures || !dead(name));
  return { proto: changed(model.proto, { graph: changed(graph, { node, initializer, input }) }) };
}
