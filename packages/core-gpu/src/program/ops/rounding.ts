import { z } from "zod";
import { tensor } from "../../tensor.ts";
import { floats, numbers, type Operator, refuse } from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { eachElement, times, unary } from "./common.ts";
import { emitExtremum } from "./pairs.ts";

const Floor = unary("floor", "Floor", floats, "zero");
const Ceil = unary("ceil", "Ceil", floats, "zero");
const Round = unary("round", "Round", floats, "zero");
const RoundStraightThrough = unary("roundStraightThrough", "Round", floats, ({ gradients }) => gradients);

interface Limits {
  readonly minimum: number | undefined;
  readonly maximum: number | undefined;
}

const Clip: Operator<Limits> = {
  name: "clip",
  onnx: "Clip",
  infer(operands, { minimum, maximum }) {
    if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
      refuse("minimum must not be above maximum", `${minimum} and ${maximum}`);
    }
    const whole = [minimum, maximum].every((limit) => limit === undefined || Number.isSafeInteger(limit));
    if (operands[0]!.dtype.startsWith("int") && !whole) {
      refuse("limits of whole numbers must be whole", `${minimum} and ${maximum}`);
    }
    return eachElement(numbers)(operands);
  },
  gradient({ ops, attributes: { minimum, maximum }, operands: [x], gradients: [d] }) {
    const within = [
      ...(minimum === undefined ? [] : [ops.greaterOrEqual(x!, minimum)]),
      ...(maximum === undefined ? [] : [ops.lessOrEqual(x!, maximum)]),
    ];
    if (within.length === 0) return [d!];
    const inside = within.reduce((first, second) => ops.and(first, second));
    return [times(ops, d!, ops.cast(inside, x!.dtype))];
  },
  emit({ graph, attributes: { minimum, maximum }, inputs: [x], outputs, inputSpecs }) {
    const { dtype } = inputSpecs[0]!;
    const limit = (value: number | undefined) =>
      value === undefined ? "" : graph.constant(tensor(dtype, [], [value]));
    const [low, high] = [limit(minimum), limit(maximum)];
    if (low === "" && high === "") graph.node("Identity", [x!], {}, outputs);
    else if (graph.opset >= 12 || dtype === "float32") graph.node("Clip", [x!, low, high], {}, outputs);
    else if (high === "") emitExtremum(graph, "Max", x!, low, dtype, outputs);
    else emitExtremum(graph, "Min", low === "" ? x! : emitExtremum(graph, "Max", x!, low, dtype), high, dtype, outputs);
  },
};

export const operators = [Floor, Ceil, Round, RoundStraightThrough, Clip] as readonly Operator[];

/** The next whole number below or at `x`; float32 or float64. ONNX Floor. */
export function floor(x: Operand): Value {
  return applyOne(Floor, [x], {});
}

/** The next whole number above or at `x`; float32 or float64. ONNX Ceil. */
export function ceil(x: Operand): Value {
  return applyOne(Ceil, [x], {});
}

/** The nearest whole number, halves to the even one; float32 or float64. ONNX Round. */
export function round(x: Operand): Value {
  return applyOne(Round, [x], {});
}

/**
 * The nearest whole number, halves to the even one, whose gradient is taken to be 1 everywhere (that of `round` is 0), so
 * that what is rounded can be trained; float32 or float64. ONNX Round.
 *
 * Source: Bengio, Léonard and Courville 2013, "Estimating or propagating gradients through stochastic neurons", the
 * straight-through estimator.
 */
export function roundStraightThrough(x: Operand): Value {
  return applyOne(RoundStraightThrough, [x], {});
}

const clipOptions = z.strictObject({ minimum: z.number().optional(), maximum: z.number().optional() });

/** `min(max(x, minimum), maximum)`; a limit left out does not limit. ONNX Clip. */
export function clip(x: Operand, options: { readonly minimum?: number; readonly maximum?: number }): Value {
  const { minimum, maximum } = operatorOptions("clip", clipOptions, options);
  return applyOne(Clip, [x], { minimum, maximum });
}
