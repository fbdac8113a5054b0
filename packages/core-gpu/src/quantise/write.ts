import { changed, indexModel, tensorNames } from "../onnx/graph.ts";
import type { Model } from "../onnx/model.ts";
import { uniqueName } from "../onnx/names.ts";
import type { NodeProto, TensorProto } from "../onnx/onnx_pb.ts";
import { subgraphs } from "../onnx/reads.ts";
import { floats, int8s, int32s, node as makeNode, uint8s } from "./graph-parts.ts";
import type { ActivationType, Parameters } from "./parameters.ts";
import { activationsOf, type QuantisationPlan } from "./plan.ts";
import type { NodeWeights } from "./weights.ts";

/**
 * Writes the planned network in the form that runtimes look for: QuantizeLinear behind every rounded tensor, DequantizeLinear in
 * front of everything that reads it, one for each reader, so that a network cut between two nodes carries the whole numbers.
 *
 * What a reader in float, an output or a tap finds under a tensor's old name are the rounded values as float32. Other names are
 * gone: runtimes compute also what nobody reads.
 */
export function writeQuantised(
  caller: string,
  model: Model,
  plan: QuantisationPlan,
  parameters: ReadonlyMap<string, Parameters>,
  weights: ReadonlyMap<number, NodeWeights>,
  type: ActivationType,
  taps: ReadonlySet<string>,
): Model {
  const index = indexModel(caller, model);
  const { graph } = index;
  const taken = tensorNames(index);
  const fresh = (name: string) => uniqueName(name, taken);
  const initializer: TensorProto[] = [];
  const nodes: NodeProto[] = [];
  const planned = new Map(plan.nodes.map((entry) => [entry.at, entry]));

  const constants = new Map<string, { scale: string; zeroPoint: string }>();
  const constantsOf = (name: string) => {
    const origin = plan.shared.get(name) ?? name;
    const known = constants.get(origin);
    if (known !== undefined) return known;
    const { scale, zeroPoint } = parameters.get(origin)!;
    const made = { scale: fresh(`${origin}/scale`), zeroPoint: fresh(`${origin}/zeroPoint`) };
    initializer.push(floats(made.scale, [], Float32Array.of(scale)), whole(made.zeroPoint, zeroPoint, type));
    constants.set(origin, made);
    return made;
  };
  const wholes = new Map<string, string>();
  const dequantise = (name: string, output: string): string => {
    const { scale, zeroPoint } = constantsOf(name);
    nodes.push(makeNode("DequantizeLinear", [wholes.get(name)!, scale, zeroPoint], output));
    return output;
  };
  const quantise = (name: string, from: string): void => {
    const { scale, zeroPoint } = constantsOf(name);
    const output = fresh(`${name}/quantised`);
    wholes.set(name, output);
    nodes.push(makeNode("QuantizeLinear", [from, scale, zeroPoint], output));
  };

  const sharedWeights = new Map<string, string>();
  const weighted = (node: NodeProto, made: NodeWeights, name: string): string[] => {
    const { shape, codes, scales, axis, bias } = made;
    const perChannel = scales.length > 1 || shape[axis] === 1;
    const dims = perChannel ? [scales.length] : [];
    const original = node.input[1]!;
    const key = `${original}:${axis}`;
    let stored = sharedWeights.get(key);
    if (stored === undefined) {
      stored = fresh(`${original}/int8`);
      sharedWeights.set(key, stored);
      initializer.push(
        int8s(stored, shape, codes),
        floats(`${stored}/scale`, dims, scales),
        int8s(`${stored}/zeroPoint`, dims, new Int8Array(scales.length)),
      );
    }
    const inputs = (at: string) => [at, `${at}/scale`, `${at}/zeroPoint`];
    const attributes = perChannel ? { axis } : undefined;
    const output = fresh(`${name}/weight`);
    nodes.push(makeNode("DequantizeLinear", inputs(stored), output, attributes));
    if (bias === undefined) return [output];
    const biasStored = fresh(`${name}/bias/int32`);
    const biasDims = perChannel ? [bias.scales.length] : [];
    initializer.push(
      int32s(biasStored, [bias.codes.length], bias.codes),
      floats(`${biasStored}/scale`, biasDims, perChannel ? bias.scales : bias.scales.slice(0, 1)),
      int32s(`${biasStored}/zeroPoint`, biasDims, new Int32Array(perChannel ? bias.scales.length : 1)),
    );
    const biasOutput = fresh(`${name}/bias`);
    nodes.push(makeNode("DequantizeLinear", inputs(biasStored), biasOutput, perChannel ? { axis: 0 } : undefined));
    return [output, biasOutput];
  };

  for (const { name } of graph.input) if (plan.rounded.has(name)) quantise(name, name);
  graph.node.forEach((node, at) => {
    const entry = planned.get(at);
    if (plan.folded.has(at)) return;
    if (entry === undefined) {
      nodes.push(node);
      for (const name of node.output) if (plan.rounded.has(name)) quantise(name, name);
      return;
    }
    const { kind, output } = entry;
    if (kind === "moved") {
      const made = fresh(`${output}/quantised`);
      const from = node.input[0]!;
      const rest = node.input.slice(1);
      if (node.opType === "Pad" && node.attribute.every(({ name, s }) => name !== "mode" || text(s) === "constant")) {
        const value = constantsOf(from).zeroPoint;
        nodes.push(changed(node, { input: [wholes.get(from)!, rest[0]!, value, ...rest.slice(2)], output: [made] }));
      } else nodes.push(changed(node, { input: [wholes.get(from)!, ...rest], output: [made] }));
      wholes.set(output, made);
      dequantise(output, output);
      return;
    }
    const read = new Set(activationsOf(node));
    const isActivation = (place: number) => kind === "joined" || place === 0;
    const input = node.input.map((name, place) =>
      isActivation(place) && read.has(name) ? dequantise(name, fresh(`${name}/for/${output}`)) : name,
    );
    if (kind === "weighted") input.splice(1, input.length - 1, ...weighted(node, weights.get(at)!, output));
    const rounds = plan.rounded.has(output);
    const made = rounds ? fresh(`${output}/float`) : output;
    nodes.push(changed(node, { input, output: [made] }));
    if (!rounds) return;
    quantise(output, made);
    dequantise(output, output);
  });

  const used = new Set([...index.outputs, ...taps]);
  for (const node of nodes) for (const name of [...node.input, ...subgraphs(node).flatMap(allNames)]) used.add(name);
  const live = nodes.filter(({ opType, output }) => opType !== "DequantizeLinear" || used.has(output[0]!));
  const stays = ({ name }: { readonly name: string }) => !index.consumers.has(name) || used.has(name);
  const kept = graph.initializer.filter(stays);
  const weightNames = new Set(graph.initializer.filter((weight) => !stays(weight)).map(({ name }) => name));
  const produced = new Set(live.flatMap((node) => node.output));
  const quantised = changed(graph, {
    node: live,
    initializer: [...kept, ...initializer],
    input: graph.input.filter(({ name }) => !weightNames.has(name)),
    valueInfo: graph.valueInfo.filter(({ name }) => produced.has(name)),
  });
  return { proto: changed(model.proto, { graph: quantised }) };
}

function whole(name: string, value: number, type: ActivationType): TensorProto {
  return type === "uint8" ? uint8s(name, [], Uint8Array.of(value)) : int8s(name, [], Int8Array.of(value));
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Every name that nodes of a body read. */
function allNames(graph: { readonly node: readonly NodeProto[] }): string[] {
  return graph.node.flatMap((node) => [...node.input, ...subgraphs(node).flatMap(allNames)]);
}
