import { checkArguments } from "../../arguments.ts";
import { type Dimension, divideShapes, multiplyDimensions, printShape, type Shape } from "../dimensions.ts";
import { normaliseAxes, type Operator, refuse } from "../operator.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import { broadcast, reshaped, sumTo } from "./common.ts";

interface Target {
  readonly shape: Shape;
}

const Reshape: Operator<Target> = {
  name: "reshape",
  onnx: "Reshape",
  infer: ([x], { shape }) => [{ dtype: x!.dtype, shape: solveShape(x!.shape, shape) }],
  gradient: ({ ops, operands: [x], gradients: [d] }) => [reshaped(ops, d!, x!.shape, () => ops.reshape(d!, x!.shape))],
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
  gradient: ({ ops, operands: [x], gradients: [d] }) => [reshaped(ops, d!, x!.shape, () => ops.reshape(d!, x!.shape))],
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
  gradient({ ops, attributes: { permutation }, operands: [x], gradients: [d] }) {
    const inverse = permutation.map((_, axis) => permutation.indexOf(axis));
    return [reshaped(ops, d!, x!.shape, () => ops.transpose(d!, inverse))];
  },
  emit: ({ graph, attributes: { permutation }, inputs, outputs }) =>
    void graph.node("Transpose", inputs, { perm: permutation }, outputs),
};

const Expand: Operator<Target> = {
  name: "expand",
  onnx: "Expand",
  infer: ([x], { shape }) => [{ dtype: x!.dtype, shape: broadcast(x!.shape, shape) }],
  gradient: ({ ops, operands: [x], gradients: [d] }) => [sumTo(ops, d!, x!)],
  emit({ graph, inputs: [x], outputs, inputSpecs: [spec], outputSpecs: [to] }) {
    graph.node("Expand", [x!, graph.shape(to!.shape, [{ name: x!, spec: spec! }])], {}, outputs);
  },
};

const ShapeOf: Operator = {
  name: "shapeOf",
  onnx: "Shape",
  gradient: "zero",
  infer: ([x]) => [{ dtype: "int64", shape: [x!.shape.length] }],
  emit: ({ graph, inputs, outputs }) => void graph.node("Shape", inputs, {}, outputs),
};

const Identity: Operator = {
  name: "identity",
  onnx: "Identity",
  infer: ([x]) => [x!],
  gradient: ({ gradients }) => gradients,
  emit: ({ graph, inputs, outputs }) => void graph.node("Identity", inputs, {}, outputs),
};

const StopGradient: Operator = { ...Identity, name: "stopGradient", gradient: "zero" };

interface Axes {
  readonly axes: readonly number[];
}

function axesOperator(
  name: "squeeze" | "unsqueeze",
  onnx: string,
  undo: "squeeze" | "unsqueeze",
  infer: Operator<Axes>["infer"],
): Operator<Axes> {
  return {
    name,
    onnx,
    infer,
    gradient({ ops, attributes: { axes }, operands: [x], results: [y], gradients: [d] }) {
      const rank = Math.max(x!.shape.length, y!.shape.length);
      return [reshaped(ops, d!, x!.shape, () => ops[undo](d!, normaliseAxes(axes, rank)))];
    },
    emit({ graph, attributes: { axes }, inputs: [x], outputs }) {
      if (graph.opset >= 13) graph.node(onnx, [x!, graph.ints(axes)], {}, outputs);
      else graph.node(onnx, [x!], { axes }, outputs);
    },
  };
}

const Squeeze = axesOperator("squeeze", "Squeeze", "unsqueeze", ([x], { axes }) => {
  const { dtype, shape } = x!;
  const gone = normaliseAxes(axes, shape.length);
  if (gone.some((axis) => shape[axis] !== 1))
    refuse("only dimensions of size 1 can be squeezed", `axes [${axes.join(", ")}]`);
  return [{ dtype, shape: shape.filter((_, axis) => !gone.includes(axis)) }];
});

const Unsqueeze = axesOperator("unsqueeze", "Unsqueeze", "squeeze", ([x], { axes }) => {
  const { dtype, shape } = x!;
  const added = normaliseAxes(axes, shape.length + axes.length);
  const result: Dimension[] = [...shape];
  for (const axis of added) result.splice(axis, 0, 1);
  return [{ dtype, shape: result }];
});

export const operators = [
  Reshape,
  Flatten,
  Transpose,
  Expand,
  ShapeOf,
  Identity,
  StopGradient,
  Squeeze,
  Unsqueeze,
] as readonly Operator[];

/**
 * The same elements in another shape, row-major. One dimension may be −1: it is solved for, with symbols too
 * (`[n, 4, 4]` to `[-1, 8]` is `[2*n, 8]`). ONNX Reshape.
 */
export function reshape(x: Operand, shape: Shape): Value {
  checkArguments("core-gpu.ops.reshape", { shape: [shape, "a shape"] });
  return applyOne(Reshape, [x], { shape: [...shape] });
}

/** Two dimensions: those before `axis` (default 1) joined, and the others joined. ONNX Flatten. */
export function flatten(x: Operand, axis = 1): Value {
  return applyOne(Flatten, [x], { axis });
}

/** Axes in another order: axis i of the result is axis `permutation[i]` of x. ONNX Transpose. */
export function transpose(x: Operand, permutation: readonly number[]): Value {
  checkArguments("core-gpu.ops.transpose", { permutation: [permutation, "a shape"] });
  return applyOne(Transpose, [x], { permutation: [...permutation] });
}

/** x repeated to a shape it broadcasts to; symbols must stand in x or an input of the program. ONNX Expand. */
export function expand(x: Operand, shape: Shape): Value {
  checkArguments("core-gpu.ops.expand", { shape: [shape, "a shape"] });
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

/**
 * x itself, taken to be constant by `gradients`: nothing flows back through it. ONNX Identity.
 *
 * @example
 * ```ts
 * import { gradients, ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(
 *   ({ x }) => ({ gradient: gradients(ops.sum(ops.mul(x, ops.stopGradient(x))), x) }),
 *   { x: spec("float32", [3]) },
 * );
 * // The gradient of x · constant is the constant, here x, and not 2 · x.
 * console.assert(program.nodes.every(({ operator }) => operator.name !== "add"));
 * ```
 */
export function stopGradient(x: Operand): Value {
  return applyOne(StopGradient, [x], {});
}

/** Without the given axes, which must have size 1; negative ones count from the end. ONNX Squeeze. */
export function squeeze(x: Operand, axes: number | readonly number[]): Value {
  return applyOne(Squeeze, [x], { axes: [axes].flat() });
}

/** With new axes of size 1 at the given places of the result; negative ones count from the end. ONNX Unsqueeze. */
export function unsqueeze(x: Operand, axes: number | readonly number[]): Value {
  return applyOne(Unsqueeze, [x], { axes: [axes].flat() });
}
