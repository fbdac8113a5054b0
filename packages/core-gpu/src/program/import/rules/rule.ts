import { tensor } from "../../../tensor.ts";
import type { Operand, Value } from "../../value.ts";
import { type ImportNode, unsupported } from "../node.ts";

/**
 * What a node of the model is in terms of `ops`: its result, or its results in order. Calls `unsupported` where the node
 * has a form that `ops` has not.
 */
export type Rule = (node: ImportNode) => Value | readonly Value[];

/** Rules by the name of the ONNX operator. */
export type Rules = Readonly<Record<string, Rule>>;

/** Refuses results that only some runtimes give and hardly any model reads. */
export function onlyResults(node: ImportNode, count: number): void {
  if (node.outputs.slice(count).includes(true)) unsupported(`more than ${count} of its outputs are used`);
}

/** An axis attribute, which counts from the end where it is negative. */
export function axisOf(node: ImportNode, fallback: number, rank: number): number {
  const axis = node.int("axis", fallback);
  return axis < 0 ? axis + rank : axis;
}

/** The axes of an operator that has them as an attribute in old operator sets and as an operand in new ones. */
export function axesOf(node: ImportNode, index = 1): readonly number[] | undefined {
  return node.has(index) ? node.numbers(index) : node.ints("axes");
}

/** The value of a known scalar, or undefined where the operand is not one. */
export function scalarOf(node: ImportNode, index: number): number | undefined {
  const content = node.known(index);
  const element = content?.elements[0];
  return content?.elements.length === 1 && typeof element === "number" ? element : undefined;
}

/** A number as a scalar of a value's dtype. */
export function scalarLike({ dtype }: Value, value: number): Operand {
  return tensor(dtype, [], [value]);
}
