import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { tensor } from "../../tensor.ts";
import { addDimensions } from "../dimensions.ts";
import { type Operator, refuse, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import type { Ops } from "./common.ts";

type PadMode = "constant" | "reflect" | "edge";

interface PadAttributes {
  readonly amounts: readonly (readonly [number, number])[];
  readonly value: number;
  readonly mode: PadMode;
}

const Pad: Operator<PadAttributes> = {
  name: "pad",
  onnx: "Pad",
  infer([x], { amounts, mode }) {
    requireDType(["float32", "float64", "int32", "int64"], x!);
    const { dtype, shape } = x!;
    if (amounts.length !== shape.length)
      refuse(`one [before, after] is needed for each of ${shape.length} dimensions`, JSON.stringify(amounts));
    if (amounts.flat().some((amount) => amount < 0))
      refuse("amounts must be ≥ 0", JSON.stringify(amounts), "Use ops.slice to cut.");
    shape.forEach((dimension, axis) => {
      const most = Math.max(...amounts[axis]!);
      if (mode === "reflect" && typeof dimension === "number" && most >= dimension && most > 0) {
        refuse("reflection cannot pad by a whole dimension or more", JSON.stringify(amounts));
      }
    });
    return [{ dtype, shape: shape.map((dimension, axis) => addDimensions(dimension, ...amounts[axis]!)) }];
  },
  gradient({ ops, attributes: { amounts, mode }, gradients: [d] }) {
    if (mode === "constant") return [cutPadding(ops, d!, amounts)];
    return [amounts.reduce((gradient, amount, axis) => undoPadding(ops, gradient, axis, amount, mode), d!)];
  },
  emit({ graph, attributes: { amounts, value, mode }, inputs: [x], outputs, inputSpecs }) {
    const pads = graph.ints([...amounts.map(([before]) => before), ...amounts.map(([, after]) => after)]);
    const fill = mode === "constant" ? [graph.constant(tensor(inputSpecs[0]!.dtype, [], [value]))] : [];
    graph.node("Pad", [x!, pads, ...fill], { mode }, outputs);
  },
};

/** What of y was x. */
function cutPadding(ops: Ops, y: Value, amounts: PadAttributes["amounts"]): Value {
  const ranges = amounts.flatMap(([before, after], axis) =>
    before + after === 0 ? [] : [{ axis, from: before, to: after === 0 ? undefined : -after }],
  );
  return ranges.length === 0 ? y : ops.slice(y, ranges);
}

/**
 * The gradient before padding along one axis: that of the middle, to which the gradients of the copies are added. Places are
 * counted from the ends, so that the axis may be symbolic.
 */
function undoPadding(
  ops: Ops,
  d: Value,
  axis: number,
  [before, after]: readonly [number, number],
  mode: "reflect" | "edge",
): Value {
  const pick = (x: Value, places: readonly number[]) =>
    ops.gather(x, tensor("int64", [places.length], places), { axis });
  // A mirror image leaves out the border itself and turns the order; a repeated border comes from one place.
  const skipped = mode === "edge" ? 0 : 1;
  const copies = (places: readonly number[]) =>
    mode === "reflect"
      ? pick(d, [...places].reverse())
      : places.length === 1
        ? pick(d, places)
        : ops.sum(pick(d, places), { axes: axis, keepDimensions: true });
  const amounts = d.shape.map((_, at): readonly [number, number] => (at === axis ? [before, after] : [0, 0]));
  let x = cutPadding(ops, d, amounts);
  if (before > 0) {
    const end = mode === "edge" ? 1 : 1 + before;
    const sum = ops.add(pick(x, range(skipped, end)), copies(range(0, before)));
    const border = skipped === 0 ? [] : [pick(x, [0])];
    x = ops.concat([...border, sum, ops.slice(x, { axis, from: end })], axis);
  }
  if (after > 0) {
    const first = mode === "edge" ? -1 : -1 - after;
    const sum = ops.add(pick(x, range(first, -skipped)), copies(range(-after, 0)));
    const border = skipped === 0 ? [] : [pick(x, [-1])];
    x = ops.concat([ops.slice(x, { axis, to: first }), sum, ...border], axis);
  }
  return x;
}

/** Whole numbers from `first` to before `end`. */
function range(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, at) => first + at);
}

export const operators = [Pad] as readonly Operator[];

/** Options of {@link pad}. */
export interface PadOptions {
  /** Constant value around x, its mirror image without the border itself, or its border repeated. Default `constant`. */
  readonly mode?: PadMode;
  /** The constant. Default 0. */
  readonly value?: number;
}

const padOptions = z.strictObject({
  mode: z.enum(["constant", "reflect", "edge"]).default("constant"),
  value: z.number().default(0),
});

/** More elements before and after on each axis: `amounts[axis] = [before, after]`, each ≥ 0. ONNX Pad. */
export function pad(x: Operand, amounts: readonly (readonly [number, number])[], options?: PadOptions): Value {
  checkArguments("core-gpu.ops.pad", { amounts: [amounts, "pairs of numbers"] });
  const { mode, value } = operatorOptions("pad", padOptions, options);
  return applyOne(Pad, [x], { amounts, mode, value });
}
