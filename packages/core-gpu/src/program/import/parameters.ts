import { InputError } from "../../errors.ts";
import { type GraphIndex, isStandard } from "../../onnx/graph.ts";
import { quoted, suggestion } from "../../onnx/names.ts";
import type { Tensor } from "../../tensor.ts";
import { floats } from "../operator.ts";
import { type Entry, tensorEntry } from "./node.ts";
import { hostTensor, isHostType } from "./weights.ts";

/** The initializers of a model. */
export interface Weights {
  readonly params: Readonly<Record<string, Tensor>>;
  readonly constants: ReadonlyMap<string, Entry>;
}

/**
 * Tells parameters from constants.
 *
 * @param wanted Names of initializers that the caller wants as constants.
 */
export function readWeights(caller: string, index: GraphIndex, wanted: readonly string[]): Weights {
  const params: Record<string, Tensor> = {};
  const constants = new Map<string, Entry>();
  const { initializer, sparseInitializer } = index.graph;
  for (const name of wanted) {
    if (!index.weights.has(name)) {
      const fix = suggestion(name, index.weights);
      throw new InputError(caller, "constants must name initializers of the model", quoted(name), fix);
    }
  }
  if (sparseInitializer.length > 0) {
    throw new InputError(
      caller,
      "weights must be dense",
      "a sparse initializer",
      "Export the model with dense weights.",
    );
  }
  for (const message of initializer) {
    const users = index.consumers.get(message.name) ?? [];
    // Weights of other types may feed nodes that are never reached.
    if (users.length === 0 && !isHostType(message.dataType)) continue;
    const data = hostTensor(caller, message);
    const isParameter =
      floats.includes(data.dtype) &&
      data.shape.length > 0 &&
      !wanted.includes(message.name) &&
      !users.every((user) => mustBeKnown(index, user, message.name));
    if (isParameter) params[message.name] = data;
    else constants.set(message.name, tensorEntry(data));
  }
  return { params, constants };
}

/** Float operands that say what a node does and cannot be learned, by operator. */
const settings: ReadonlyMap<string, readonly number[]> = new Map([
  ["Clip", [1, 2]],
  ["Pad", [2]],
  ["Dropout", [1]],
  ["Resize", [1, 2]],
  ["Upsample", [1]],
  ["OneHot", [2]],
  ["Range", [0, 1, 2]],
]);

function mustBeKnown(index: GraphIndex, user: number, name: string): boolean {
  const node = index.graph.node[user]!;
  const places = isStandard(node) ? (settings.get(node.opType) ?? []) : [];
  return node.input.every((input, place) => input !== name || places.includes(place));
}

/** Initializers that hold running statistics. */
export function statisticsOf(index: GraphIndex): ReadonlySet<string> {
  return new Set(
    index.graph.node.flatMap((node) =>
      node.opType === "BatchNormalization" && isStandard(node) ? node.input.slice(3, 5) : [],
    ),
  );
}
