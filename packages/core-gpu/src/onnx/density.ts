import { hostTensor } from "../program/import/weights.ts";
import type { GraphIndex } from "./graph.ts";

/** Operators that move every element of their first operand somewhere and change none. */
const rearranging = new Set(["Identity", "Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

/**
 * The share of a weight's elements that are not 0; 1 for a tensor that is no weight of the model, nor one rearranged.
 *
 * @throws InputError on a weight of an element type host tensors cannot hold.
 */
export function densityOf(caller: string, index: GraphIndex, name: string): number {
  const at = index.producer.get(name);
  if (at !== undefined) {
    const { opType, input } = index.graph.node[at]!;
    return rearranging.has(opType) ? densityOf(caller, index, input[0]!) : 1;
  }
  const message = index.graph.initializer.find((weight) => weight.name === name);
  if (message === undefined) return 1;
  const { data } = hostTensor(caller, message);
  if (data.length === 0) return 1;
  let zeros = 0;
  for (const value of data) if (Number(value) === 0) zeros++;
  return 1 - zeros / data.length;
}
