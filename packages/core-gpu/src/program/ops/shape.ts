import { z } from "zod";
import { tensor } from "../../tensor.ts";
import {
  addDimensions,
  type Dimension,
  divideShapes,
  multiplyDimensions,
  printShape,
  type Shape,
} from "../dimensions.ts";
import { normaliseAxes, normaliseAxis, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { broadcast } from "./common.ts";

interface Target {
  readonly shape: Shape;
}

const Reshape: Operator<Target> = {
  name: "reshape",
  onnx: "Reshape",
  infer: ([x], { shape }) => [{ dtype: x!.dtype, shape: solveShape(x!.shape, shape) }],
  emit({ graph, inputs: [x], outputs, inputSpecs: [from], outputSpecs: [to] }) {
    const shape = to!.shape;
    const known = shape.map((dimension, axis) =>
      typeof dimension === "number" ? dimension : dimension === from!.shape[axis] ? 0 : -1,
    );
    // In ONNX's list 0 copies the operand's dimension and one −1 is solved for: enough unless sizes are 0 or several unknown.
    const simple = known.filter((size) => size === -1).length <= 1 && !shape.includes(0);
    const list = simple ? graph.ints(known) : graph.shape(shape, [{ name: x!, spec: from! }]);
    const allowZero = shape.includes(0) && graph.opset >= 14 ? { allowzero: 1 } : {};
    graph.node("Reshape", [x!, list], allowZero, outputs);
  },
};

/** The wanted shape with its −1, if it has one, replaced by what makes the number of elements agree. */
function solveShape(from: Shape, wanted: Shape): Shape {
  const actual = `${printShape(from)} to ${printShape(wanted)}`;
  const unknown = wanted.filter((dimension) => dimension === -1).length;
  const valid = wanted.every(
    (dimension) => typeof dimension === "string" || (Number.isInteger(dimension) && dimension >= -1),
  );
  if (!valid || unknown > 1) refuse("dimensions must be whole numbers ≥ 0 or symbols, one of them may be -1", actual);
  const rest = wanted.filter((dimension) => dimension !== -1);
  if (unknown === 0) {
    if (multiplyDimensions(from) !== multiplyDimensions(rest))
      refuse("the number of elements must stay the same", actual);
    return wanted;
  }
  const solved = divideShapes(from, rest);
  if (solved === null)
    refuse("the -1 must have a whole solution", actual, "Only products of known symbols can be divided.");
  return wanted.map((dimension) => (dimension === -1 ? solved : dimension));
}

const Flatten: Operator<{ readonly axis: number }> = {
  name: "flatten",
  onnx: "Flatten",
  infer([x], { axis }) {
    const { dtype, shape } = x!;
    if (!Number.isInteger(axis) || axis < 0 || axis > shape.length)
      refuse(`axis must be from 0 to ${shape.length}`, String(axis));
    return [{ dtype, shape: [multiplyDimensions(shape.slice(0, axis)), multiplyDimensions(shape.slice(axis))] }];
  },
  emit: ({ graph, attributes: { axis }, inputs, outputs }) => void graph.node("Flatten", inputs, { axis }, outputs),
};

const Transpose: Operator<{ readonly permutation: readonly number[] }> = {
  name: "transpose",
  onnx: "Transpose",
  infer([x], { permutation }) {
    const { dtype, shape } = x!;
    if (permutation.length !== shape.length || [...permutation].sort((a, b) => a - b).some((axis, at) => axis !== at)) {
      refuse(`the permutation must hold each of 0 to ${shape.length - 1} once`, `[${permutation.join(", ")}]`);
    }
    return [{ dtype, shape: permutation.map((axis) => shape[axis]!) }];
  },
  emit: ({ graph, attributes: { permutation }, inputs, outputs }) =>
    void graph.node("Transpose", inputs, { perm: permutation }, outputs),
};

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
  emit: ({ graph, attributes: { axis }, inputs, outputs }) => void graph.node("Concat", inputs, { axis }, outputs),
};

const Expand: Operator<Target> = {
  name: "expand",
  onnx: "Expand",
  infer: ([x], { shape }) => [{ dtype: x!.dtype, shape: broadcast(x!.shape, shape) }],
  emit({ graph, inputs: [x], outputs, inputSpecs: [spec], outputSpecs: [to] }) {
    graph.node("Expand", [x!, graph.shape(to!.shape, [{ name: x!, spec: spec! }])], {}, outputs);
  },
};

const ShapeOf: Operator = {
  name: "shapeOf",
  onnx: "Shape",
  infer: ([x]) => [{ dtype: "int64", shape: [x!.shape.length] }],
  emit: ({ graph, inputs, outputs }) => void graph.node("Shape", inputs, {}, outputs),
};

const Identity: Operator = {
  name: "identity",
  onnx: "Identity",
  infer: ([x]) => [x!],
  emit: ({ graph, inputs, outputs }) => void graph.node("Identity", inputs, {}, outputs),
};

interface Axes {
  readonly axes: readonly number[];
}

function axesOperator(name: string, onnx: string, infer: Operator<Axes>["infer"]): Operator<Axes> {
  return {
    name,
    onnx,
    infer,
    emit({ graph, attributes: { axes }, inputs: [x], outputs }) {
      if (graph.opset >= 13) graph.node(onnx, [x!, graph.ints(axes)], {}, outputs);
      else graph.node(onnx, [x!], { axes }, outputs);
    },
  };
}

const Squeeze = axesOperator("squeeze", "Squeeze", ([x], { axes }) => {
  const { dtype, shape } = x!;
  const gone = normaliseAxes(axes, shape.length);
  if (gone.some((axis) => shape[axis] !== 1))
    refuse("only dimensions of size 1 can be squeezed", `axes [${axes.join(", ")}]`);
  return [{ dtype, shape: shape.filter((_, axis) => !gone.includes(axis)) }];
});

const Unsqueeze = axesOperator("unsqueeze", "Unsqueeze", ([x], { axes }) => {
  const { dtype, shape } = x!;
  const added = normaliseAxes(axes, shape.length + axes.length);
  const result: Dimension[] = [...shape];
  for (const axis of added) result.splice(axis, 0, 1);
  return [{ dtype, shape: result }];
});

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
  emit({ graph, attributes: { amounts, value, mode }, inputs: [x], outputs, inputSpecs }) {
    const pads = graph.ints([...amounts.map(([before]) => before), ...amounts.map(([, after]) => after)]);
    const fill = mode === "constant" ? [graph.constant(tensor(inputSpecs[0]!.dtype, [], [value]))] : [];
    graph.node("Pad", [x!, pads, ...fill], { mode }, outputs);
  },
};

export const operators = [
  Reshape,
  Flatten,
  Transpose,
  Concat,
  Expand,
  ShapeOf,
  Identity,
  Squeeze,
  Unsqueeze,
  Pad,
] as readonly Operator[];

/**
 * The same elements in another shape, row-major. One dimension may be −1: it is solved for, with symbols too
 * (`[n, 4, 4]` to `[-1, 8]` is `[2*n, 8]`). ONNX Reshape.
 */
export function reshape(x: Operand, shape: Shape): Value {
  return applyOne(Reshape, [x], { shape: [...shape] });
}

/** Two dimensions: those before `axis` (default 1) joined, and the others joined. ONNX Flatten. */
export function flatten(x: Operand, axis = 1): Value {
  return applyOne(Flatten, [x], { axis });
}

/** Axes in another order: axis i of the result is axis `permutation[i]` of x. ONNX Transpose. */
export function transpose(x: Operand, permutation: readonly number[]): Value {
  return applyOne(Transpose, [x], { permutation: [...permutation] });
}

/** Operands one after the other along an axis; all other dimensions must be equal. ONNX Concat. */
export function concat(operands: readonly Operand[], axis: number): Value {
  return applyOne(Concat, operands, { axis });
}

/** x repeated to a shape it broadcasts to; symbols must stand in x or an input of the program. ONNX Expand. */
export function expand(x: Operand, shape: Shape): Value {
  return applyOne(Expand, [x], { shape: [...shape] });
}

/** The shape at run time, int64 [rank]. ONNX Shape. */
export function shapeOf(x: Operand): Value {
  return applyOne(ShapeOf, [x], {});
}

/** x itself, under a name of its own in the model. ONNX Identity. */
export function identity(x: Operand): Value {
  return applyOne(Identity, [x], {});
}

/** Without the given axes, which must have size 1; negative ones count from the end. ONNX Squeeze. */
export function squeeze(x: Operand, axes: number | readonly number[]): Value {
  return applyOne(Squeeze, [x], { axes: [axes].flat() });
}

/** With new axes of size 1 at the given places of the result; negative ones count from the end. ONNX Unsqueeze. */
export function unsqueeze(x: Operand, axes: number | readonly number[]): Value {
  return applyOne(Unsqueeze, [x], { axes: [axes].flat() });
}

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
  const { mode, value } = operatorOptions("pad", padOptions, options);
  return applyOne(Pad, [x], { amounts, mode, value });
}
