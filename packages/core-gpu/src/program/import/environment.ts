import { InputError } from "../../errors.ts";
import { ancestors, type GraphIndex, isStandard } from "../../onnx/graph.ts";
import type { GraphProto, NodeProto, OperatorSetIdProto } from "../../onnx/onnx_pb.ts";
import { nodeReads, subgraphs } from "../../onnx/reads.ts";
import type { Dimension } from "../dimensions.ts";
import type { Value } from "../value.ts";
import { fold } from "./fold.ts";
import {
  type Entry,
  type ImportNode,
  knownEntry,
  readNode,
  type Surroundings,
  tensorEntry,
  titleOf,
  Unsupported,
  unsupported,
  valueEntry,
} from "./node.ts";
import { applyOpaque } from "./opaque.ts";
import { rules } from "./rules/index.ts";
import { type Stated, statedSpec } from "./stated.ts";
import { constantTensor, hostTensor } from "./weights.ts";

/** A node that no operator of `ops` expresses. */
export interface OpaqueNode {
  /** The node's name, or the name of its first output. */
  readonly node: string;
  /** The ONNX operator, with its domain if that is not the standard one. */
  readonly operator: string;
  /** Why `ops` cannot express it. */
  readonly reason: string;
}

/** What stays the same between applications of a model. */
export interface Source {
  readonly caller: string;
  readonly index: GraphIndex;
  readonly opset: number;
  readonly imports: readonly OperatorSetIdProto[];
  readonly stated: Stated;
  /** Nodes that `ops` refuses on the shapes and types of the file, with the reason. */
  readonly refused: Map<NodeProto, string>;
}

/** What the model gives for the entries of its inputs and initializers. */
export interface Result {
  readonly outputs: Readonly<Record<string, Value>>;
  readonly opaque: readonly OpaqueNode[];
  /** By the name of a parameter, what replaces it after the training step. */
  readonly updates: Readonly<Record<string, Value>>;
}

/**
 * Applies the nodes that the outputs need, in order.
 *
 * @param mode The trial, on the shapes and types of the file, finds the nodes that `ops` refuses: they are opaque from then
 * on. Afterwards a refusal is the fault of what was given.
 */
export function applyGraph(
  source: Source,
  given: ReadonlyMap<string, Entry>,
  bound: ReadonlyMap<string, Dimension>,
  mode: "trial" | "inference" | "training",
): Result {
  const { caller, index, opset, stated, imports, refused } = source;
  const training = mode === "training";
  const trial = mode === "trial";
  const entries = new Map(given);
  const origins = new Map<Dimension, { readonly value: Value; readonly axis: number }>();
  const used = new Set([...index.consumers.keys(), ...index.outputs]);
  const updates: Record<string, Value> = {};
  const opaque: OpaqueNode[] = [];
  const store = (name: string, entry: Entry): void => {
    entries.set(name, entry);
    if (entry.known !== null) return;
    entry.spec.shape.forEach((size, axis) => {
      if (typeof size === "string" && !origins.has(size)) origins.set(size, { value: entry.value(), axis });
    });
  };
  for (const [name, entry] of given) store(name, entry);
  const around: Surroundings = {
    caller,
    opset,
    training,
    isUsed: (name) => used.has(name),
    entry: (name) => entries.get(name)!,
    locate: (symbol) => origins.get(symbol),
    update(name, next) {
      updates[origin(index, name)] = next;
    },
  };
  const runOpaque = (node: NodeProto, reason: string): void => {
    const named = node.output.filter((name) => name !== "");
    const results = explaining(source, node, reason, () => named.map((name) => statedSpec(stated, name, bound)));
    const operands = nodeReads(node).map((name) => entries.get(name)!.value());
    const values = applyOpaque(node, operands, results, { opset, imports });
    named.forEach((name, place) => {
      store(name, valueEntry(values[place]!));
    });
    const operator = isStandard(node) ? node.opType : `${node.domain}:${node.opType}`;
    opaque.push({ node: node.name || (node.output[0] ?? ""), operator, reason });
  };
  const runNode = (node: NodeProto): void => {
    const constant = constantTensor(caller, node);
    if (constant !== undefined) {
      store(node.output[0]!, tensorEntry(constant));
      return;
    }
    const branch = chosenBranch(node, entries);
    if (branch !== undefined) {
      for (const weight of branch.initializer) store(weight.name, tensorEntry(hostTensor(caller, weight)));
      for (const inner of branch.node) {
        for (const name of nodeReads(inner)) used.add(name);
      }
      for (const { name } of branch.output) used.add(name);
      branch.node.forEach(runNode);
      node.output.forEach((name, place) => {
        store(name, entries.get(branch.output[place]!.name)!);
      });
      return;
    }
    const reason = refused.get(node) ?? attempt(() => applyNode(caller, readNode(node, around), node, store), trial);
    if (reason === null) return;
    if (trial) refused.set(node, reason);
    runOpaque(node, reason);
  };
  for (const number of ancestors(index, index.outputs)) runNode(index.graph.node[number]!);
  const outputs = Object.fromEntries(index.outputs.map((name) => [name, entries.get(name)!.value()]));
  return { outputs, opaque, updates };
}

/** The branch of an If whose condition is known: exporters leave such nodes where a shape decides. */
function chosenBranch(node: NodeProto, entries: ReadonlyMap<string, Entry>): GraphProto | undefined {
  if (node.opType !== "If" || !isStandard(node)) return undefined;
  const condition = entries.get(node.input[0]!)?.known?.elements[0];
  const name = condition === undefined ? undefined : condition === 1 ? "then_branch" : "else_branch";
  return node.attribute.find((attribute) => attribute.name === name)?.g;
}

/** Why a node must be opaque, or null where `run` has applied it. */
function attempt(run: () => void, trial: boolean): string | null {
  try {
    run();
    return null;
  } catch (error) {
    if (error instanceof Unsupported || (trial && error instanceof InputError)) return error.message;
    throw error;
  }
}

/** Attributes that do not change a node's results, or say again what its operands say. */
const harmless: ReadonlySet<string> = new Set([
  "stash_type",
  "qk_matmul_output_mode",
  "softmax_precision",
  "kernel_shape",
  "noop_with_empty_axes",
  "q_num_heads",
  "kv_num_heads",
  "num_heads",
  "cubic_coeff_a",
  "extrapolation_value",
  "nearest_mode",
  "storage_order",
  "sorted",
  "num_outputs",
  "momentum",
  "training_mode",
  "seed",
  "ratio",
  "saturate",
  "epsilon",
]);

function applyNode(
  caller: string,
  node: ImportNode,
  proto: NodeProto,
  store: (name: string, entry: Entry) => void,
): void {
  const rule = isStandard(proto) && subgraphs(proto).length === 0 ? rules.get(proto.opType) : undefined;
  const run = (): readonly Value[] => {
    if (rule === undefined) unsupported(`${proto.opType} is no operator of \`ops\``);
    const results = naming(caller, node, () => rule(node));
    const [unknown] = node.unread().filter((name) => !harmless.has(name));
    if (unknown !== undefined) unsupported(`its attribute ${unknown} is not known`);
    return "dtype" in results ? [results] : results;
  };
  const found = isStandard(proto) ? fold(node) : null;
  let values: readonly Value[] | undefined;
  const value = (place: number): Value => {
    values ??= run();
    return values[place]!;
  };
  proto.output.forEach((name, place) => {
    if (!node.outputs[place]) return;
    const content = found?.[place] ?? null;
    if (content !== null) {
      store(
        name,
        knownEntry(content, () => value(place)),
      );
    } else store(name, valueEntry(value(place) ?? unsupported(`its output ${place} is used`)));
  });
}

/** Adds the node to what an operator of `ops` says about its operands. */
function naming<T>(caller: string, node: ImportNode, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new InputError(caller, `${node.title} must get operands that it takes`, error.message.replace(/\.$/, ""));
  }
}

/** An opaque node must have results of a known type and shape. */
function explaining<T>({ caller }: Source, node: NodeProto, reason: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    throw new InputError(
      caller,
      `${titleOf(node)} must be one that \`ops\` expresses, or have outputs of stated type and shape`,
      `${reason}, and ${error.message}`,
      "State it: { shapes: { <output>: [...] } } (probeShapes finds shapes), or infer shapes before (onnx.shape_inference).",
    );
  }
}

/** The initializer that a name stands for, through Identity nodes. */
function origin(index: GraphIndex, name: string): string {
  let at = name;
  for (let node = index.producer.get(at); node !== undefined; node = index.producer.get(at)) {
    const { opType, input } = index.graph.node[node]!;
    if (opType !== "Identity") break;
    at = input[0]!;
  }
  return at;
}
