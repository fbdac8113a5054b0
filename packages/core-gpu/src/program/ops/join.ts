import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { addDimensions, type Dimension } from "../dimensions.ts";
import { type Emission, normaliseAxis, type Operator, refuse, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { apply, applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { zerosLike } from "./common.ts";

const Concat: Operator<{ readonly axis: number }> = {
  name: "concat",
  onnx: "Concat",
  infer(operands, attributes) {
    const [first] = operands;
    if (first === undefined) refuse("at least one operand is needed", "none");
    requireSameDType(...operands);
    const axis = normaliseAxis(attributes.axis, first.shape.length);
    const fits = ({ shape }: Spec) =>
      shape.length === first.shape.length &&
      shape.every((dimension, at) => at === axis || dimension === first.shape[at]);
    if (!operands.every(fits)) refuse(`shapes must be equal except on axis ${axis}`);
    const joined = addDimensions(...operands.map(({ shape }) => shape[axis]!));
    return [{ dtype: first.dtype, shape: first.shape.map((dimension, at) => (at === axis ? joined : dimension)) }];
  },
  gradient({ ops, attributes, operands, gradients: [d], needed }) {
    if (operands.length === 1) return [d!];
    const axis = normaliseAxis(attributes.axis, d!.shape.length);
    const sizes = operands.map(({ shape }) => shape[axis]!);
    const known = sizes.every((size) => typeof size === "number");
    if (!known || needed.filter(Boolean).length > 1) return ops.split(d!, sizes, axis);
    const only = needed.indexOf(true);
    const from = (sizes as number[]).slice(0, only).reduce((sum, size) => sum + size, 0);
    return operands.map((_, index) =>
      index === only ? ops.slice(d!, { axis, from, to: from + (sizes[only] as number) }) : null,
    );
  },
  emit: ({ graph, attributes: { axis }, inputs, outputs }) => void graph.node("Concat", inputs, { axis }, outputs),
};

interface SplitAttributes {
  readonly sizes: readonly Dimension[];
  readonly axis: number;
}

const Split: Operator<SplitAttributes> = {
  name: "split",
  onnx: "Split",
  infer([x], { sizes, axis: along }) {
    const { dtype, shape } = x!;
    const axis = normaliseAxis(along, shape.length);
    const valid = sizes.every((size) => typeof size === "string" || (Number.isInteger(size) && size >= 0));
    if (!valid || addDimensions(...sizes) !== shape[axis]) {
      refuse(`sizes must add up to ${shape[axis]}, the size of axis ${axis}`, `[${sizes.join(", ")}]`);
    }
    return sizes.map((size) => ({ dtype, shape: shape.map((dimension, at) => (at === axis ? size : dimension)) }));
  },
  gradient({ ops, attributes: { axis }, results, gradients }) {
    return [
      ops.concat(
        results.map((result, index) => gradients[index] ?? zerosLike(ops, result)),
        axis,
      ),
    ];
  },
  emit(application) {
    const { graph, attributes, inputs, outputs, inputSpecs } = application;
    const axis = normaliseAxis(attributes.axis, inputSpecs[0]!.shape.length);
    const { sizes } = attributes;
    if (graph.opset >= 13) graph.node("Split", [inputs[0]!, graph.shape(sizes, [])], { axis }, outputs);
    else if (sizes.every((size) => typeof size === "number"))
      graph.node("Split", inputs, { axis, split: sizes }, outputs);
    else emitSlices(application, axis);
  },
};

/** Before opset 13 the sizes of Split must be known. */
function emitSlices({ graph, attributes: { sizes }, inputs, outputs }: Emission<SplitAttributes>, axis: number): void {
  let from = graph.ints([0]);
  sizes.forEach((size, index) => {
    const to = graph.node("Add", [from, graph.shape([size], [])]);
    graph.node("Slice", [inputs[0]!, from, to, graph.ints([axis])], {}, [outputs[index]!]);
    from = to;
  });
}

export const operators = [Concat, Split] as readonly Operator[];

/** Operands one after the other along an axis; all other dimensions must be equal. ONNX Concat. */
export function concat(operands: readonly Operand[], axis: number): Value {
  checkArguments("core-gpu.ops.concat", { operands: [operands, "a list"], axis: [axis, "a number"] });
  return applyOne(Concat, operands, { axis });
}

const splitOptions = z.strictObject({ sizes: z.array(z.union([z.int(), z.string()])).min(1), axis: z.int() });

/**
 * Parts one after the other along an axis, as `concat` would join them. ONNX Split.
 *
 * @param sizes Their sizes on that axis, which add up to its size.
 * @param axis Negative ones count from the end.
 */
export function split(x: Operand, sizes: readonly Dimension[], axis: number): readonly Value[] {
  return apply(Split, [x], operatorOptions("split", splitOptions, { sizes, axis }));
}
