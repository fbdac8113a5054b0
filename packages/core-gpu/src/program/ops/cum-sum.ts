import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { normaliseAxis, numbers, type Operator, requireDType } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";

interface CumSumAttributes {
  readonly axis: number;
  readonly exclusive: boolean;
  readonly reverse: boolean;
}

const CumSum: Operator<CumSumAttributes> = {
  name: "cumSum",
  onnx: "CumSum",
  infer([x], { axis }) {
    requireDType(numbers, x!);
    normaliseAxis(axis, x!.shape.length);
    return [x!];
  },
  gradient: ({ ops, attributes, gradients: [d] }) => [ops.cumSum(d!, { ...attributes, reverse: !attributes.reverse })],
  emit({ graph, attributes: { axis, exclusive, reverse }, inputs: [x], outputs }) {
    const along = graph.constant(tensor("int64", [], [axis]));
    graph.node("CumSum", [x!, along], { exclusive: Number(exclusive), reverse: Number(reverse) }, outputs);
  },
};

export const operators = [CumSum] as readonly Operator[];

/** Options of {@link cumSum}. */
export interface CumSumOptions {
  /** The axis; negative ones count from the end. Default the last. */
  readonly axis?: number;
  /** Whether an element is left out of its own sum. Default false. */
  readonly exclusive?: boolean;
  /** Whether sums run from the end. Default false. */
  readonly reverse?: boolean;
}

const cumSumOptions = z.strictObject({
  axis: z.int().default(-1),
  exclusive: z.boolean().default(false),
  reverse: z.boolean().default(false),
});

/**
 * The sums of all elements up to each along an axis (default the last): `y[i] = x[0] + … + x[i]`. Floats or whole numbers,
 * of x's shape. NumPy's and PyTorch's `cumsum`. ONNX CumSum.
 */
export function cumSum(x: Operand, options?: CumSumOptions): Value {
  return applyOne(CumSum, [x], operatorOptions("cumSum", cumSumOptions, options));
}
