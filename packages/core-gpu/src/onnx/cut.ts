import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { isTensorType } from "./dtypes.ts";
import type { GraphIndex } from "./graph.ts";
import { ancestors, changed, indexModel, tensorNames } from "./graph.ts";
import type { Model } from "./model.ts";
import { list, quoted, suggestion } from "./names.ts";
import type { ElementTypes } from "./types.ts";
import { elementTypes, valueInfo } from "./types.ts";

/** A piece of a network: a model of its own that runs after the stages before it. */
export interface Stage {
  readonly model: Model;
  /** Graph inputs of the network and tensors of earlier stages that this stage must be fed. */
  readonly inputs: readonly string[];
  /** Cut tensors, then what later stages need from here, then outputs of the network that are made here. */
  readonly outputs: readonly string[];
}

/**
 * Cuts a network into stages that run one after another and together do exactly what the whole network does.
 *
 * Stage i holds everything that the tensors `cuts[i]` need and no earlier stage holds; the last stage, what the
 * network's outputs still need. A tensor that crosses a cut (a skip connection, even over several stages) is an output
 * of the stage that makes it and an input of each stage that uses it; every stage also gets the graph inputs it uses.
 * Weights and constants are copied to each stage that needs them. So are nodes that only compute with shapes: they are
 * computed from the tensor whose shape they use, which is carried instead, so that a batch may shrink between stages.
 *
 * @param cuts e − 1 cuts for e stages, in order: a tensor name, or several that are all made by the end of that stage.
 * Without cuts the only stage is the whole network.
 * @returns The stages, in order. They share the weights with the model.
 * @throws InputError on a name that is not a tensor or not one made from the inputs, a tensor no output needs, a cut
 * given twice or not after the one before it, a stage without work, or a tensor whose type is neither stated in the
 * file nor follows from the operators.
 * @example
 * ```ts
 * import { cutStages, readModelFile } from "@exitkit/core-gpu";
 * const model = await readModelFile("network.onnx");
 * const [first, second] = cutStages(model, ["/one/Relu_1_output_0"]);
 * console.assert(first?.outputs.join() === second?.inputs.join());
 * ```
 */
export function cutStages(model: Model, cuts: readonly (string | readonly string[])[]): readonly Stage[] {
  const caller = "core-gpu.cutStages";
  checkArguments(caller, { cuts: [cuts, "a list of names"] });
  const index = indexModel(caller, model);
  const groups = cuts.map((cut) => (typeof cut === "string" ? [cut] : [...cut]));
  checkNames(caller, index, groups);
  const owner = placeNodes(caller, index, groups);
  const plans = [...groups, []].map((_, stage) => plan(index, owner, stage, stage === groups.length));
  const types = elementTypes(index.graph);
  return plans.map((here, stage) => {
    const later = new Set(plans.slice(stage + 1).flatMap(({ inputs }) => inputs));
    const made = (name: string) => owner.get(index.producer.get(name) ?? -1) === stage;
    const last = stage === groups.length;
    const outputs = new Set([
      ...(groups[stage] ?? []),
      ...[...index.producer.keys()].filter((name) => later.has(name) && made(name)),
      ...index.outputs.filter((name) => made(name) || (last && !isData(index, name))),
    ]);
    return build(caller, model, index, types, here, [...outputs], stage);
  });
}

interface Plan {
  readonly nodes: readonly number[];
  readonly inputs: readonly string[];
  readonly weights: ReadonlySet<string>;
}

/** Whether a node of the graph makes the tensor from the inputs' values. */
function isData(index: GraphIndex, name: string): boolean {
  const node = index.producer.get(name);
  return node !== undefined && index.kinds[node] === "data";
}

function checkNames(caller: string, index: GraphIndex, groups: readonly (readonly string[])[]): void {
  const known = tensorNames(index);
  const seen = new Set<string>();
  const needed = new Set(ancestors(index, index.outputs));
  groups.forEach((names, at) => {
    if (names.length === 0) throw new InputError(caller, "every cut must name a tensor", `none in cut ${at}`);
    for (const name of names) {
      const expectation = `cut ${at} must be a tensor that nodes make from the inputs`;
      if (!known.has(name)) throw new InputError(caller, expectation, quoted(name), suggestion(name, known));
      if (index.inputs.has(name)) throw new InputError(caller, expectation, `the graph input ${quoted(name)}`);
      if (index.weights.has(name)) throw new InputError(caller, expectation, `the initializer ${quoted(name)}`);
      const node = index.producer.get(name)!;
      const kind = index.kinds[node]!;
      if (kind !== "data")
        throw new InputError(caller, expectation, `${quoted(name)}, which follows from ${kind}s only`);
      if (!needed.has(node)) {
        const fix = "Cut elsewhere, or make it an output first: addTaps.";
        throw new InputError(caller, "an output must depend on every cut", `${quoted(name)}, which none needs`, fix);
      }
      if (seen.has(name)) throw new InputError(caller, "every tensor may be cut once", `${quoted(name)} twice`);
      seen.add(name);
    }
  });
}

/** Stage of each node that computes with data; the others are copied to where they are needed. */
function placeNodes(caller: string, index: GraphIndex, groups: readonly (readonly string[])[]): Map<number, number> {
  const owner = new Map<number, number>();
  groups.forEach((names, stage) => {
    for (const name of names) {
      const earlier = owner.get(index.producer.get(name)!);
      if (earlier === undefined) continue;
      const before = `${quoted(name)}, which stage ${earlier} makes for ${list(groups[earlier]!)}`;
      throw new InputError(caller, `cut ${stage} must come after cut ${stage - 1}`, before, "Give the cuts in order.");
    }
    place(names, stage);
  });
  const last = groups.length;
  if (place(index.outputs, last) === 0 && last > 0) {
    const cut = list(groups[last - 1]!);
    throw new InputError(caller, "every stage must have work to do", `no node after ${cut}`, "Leave the last cut out.");
  }
  return owner;

  function place(names: readonly string[], stage: number): number {
    const fresh = ancestors(index, names, (node) => owner.has(node)).filter((node) => index.kinds[node] === "data");
    for (const node of fresh) owner.set(node, stage);
    return fresh.length;
  }
}

/** What a stage consists of: its own nodes, copies of constants and shape arithmetic, weights, and what it is fed. */
function plan(index: GraphIndex, owner: ReadonlyMap<number, number>, stage: number, last: boolean): Plan {
  const nodes = new Set([...owner].filter(([, at]) => at === stage).map(([node]) => node));
  const weights = new Set<string>();
  const inputs = new Set<string>();
  const open = [...nodes].flatMap((node) => index.reads[node]!);
  if (last) open.push(...index.outputs.filter((name) => !isData(index, name)));
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = index.producer.get(name);
    if (index.weights.has(name)) weights.add(name);
    else if (node === undefined) inputs.add(name);
    else if (index.kinds[node] === "data") {
      if (!nodes.has(node)) inputs.add(name);
    } else if (!nodes.has(node)) {
      nodes.add(node);
      open.push(...index.reads[node]!);
    }
  }
  const order = [...index.inputs, ...index.producer.keys()];
  return { nodes: [...nodes].sort((a, b) => a - b), inputs: order.filter((name) => inputs.has(name)), weights };
}

function build(
  caller: string,
  model: Model,
  index: GraphIndex,
  types: ElementTypes,
  { nodes, inputs, weights }: Plan,
  outputs: readonly string[],
  stage: number,
): Stage {
  const { graph } = index;
  const made = new Set(nodes.flatMap((node) => graph.node[node]!.output));
  const input = inputs.map((name) => {
    const info = valueInfo(graph, name, types);
    if (index.inputs.has(name) || isTensorType(info.type)) return info;
    const fix = "Cut elsewhere, or state the tensor's type in the model's value_info (onnx.shape_inference).";
    throw new InputError(caller, "what crosses a cut must be a tensor of known type", quoted(name), fix);
  });
  const names = new Set([...made, ...inputs, ...weights]);
  const stageGraph = changed(graph, {
    name: `${graph.name}_stage_${stage}`,
    node: nodes.map((node) => graph.node[node]!),
    initializer: graph.initializer.filter(({ name }) => weights.has(name)),
    sparseInitializer: graph.sparseInitializer.filter(({ values }) => weights.has(values?.name ?? "")),
    // Weights that are listed as inputs are defaults which may be overridden; they stay so.
    input: [...input, ...graph.input.filter(({ name }) => weights.has(name))],
    output: outputs.map((name) => valueInfo(graph, name, types)),
    valueInfo: graph.valueInfo.filter(({ name }) => made.has(name) && !outputs.includes(name)),
    quantizationAnnotation: graph.quantizationAnnotation.filter(({ tensorName }) => names.has(tensorName)),
  });
  return { model: { proto: changed(model.proto, { graph: stageGraph, trainingInfo: [] }) }, inputs, outputs };
}
