import { type DType, tensor } from "../../tensor.ts";
import { broadcastShapes, type Shape, sameShape } from "../dimensions.ts";
import type { Attributes } from "../onnx-graph.ts";
import {
  type Differentiation,
  type Emission,
  type Operator,
  refuse,
  requireDType,
  requireSameDType,
} from "../operator.ts";
import type { Spec } from "../spec.ts";
import { makeValue, type Value } from "../value.ts";

/** An operator without attributes. */
export type PlainOperator = Operator<object>;

/** The ONNX form of an operator that is one ONNX node in every opset. */
export function oneNode<A extends object>(type: string, attributes?: (given: A) => Attributes) {
  return (application: Emission<A>): void => {
    const { graph, inputs, outputs } = application;
    graph.node(type, inputs, attributes?.(application.attributes), outputs);
  };
}

/** Shape rule of a function of each element: the result is like the operand. */
export function eachElement(dtypes: readonly DType[]) {
  return ([x]: readonly Spec[]): readonly Spec[] => {
    requireDType(dtypes, x!);
    return [x!];
  };
}

/** Shape rule of a function of pairs of elements: the operands broadcast as in NumPy. */
export function eachPair(dtypes: readonly DType[], result?: DType) {
  return ([a, b]: readonly Spec[]): readonly Spec[] => {
    requireDType(dtypes, a!, b!);
    requireSameDType(a!, b!);
    return [{ dtype: result ?? a!.dtype, shape: broadcast(a!.shape, b!.shape) }];
  };
}

/** The shape both broadcast to; refuses where there is none. */
export function broadcast(a: Shape, b: Shape): Shape {
  return broadcastShapes(a, b) ?? refuse("shapes must broadcast: dimensions, from the last, equal or 1");
}

/** All operators as a gradient rule gets them. */
export type Ops = Differentiation["ops"];

/** The gradient of an operand that was broadcast: summed over what it was repeated along, in the operand's shape. */
export function sumTo(ops: Ops, gradient: Value, { shape }: Spec): Value {
  if (sameShape(gradient.shape, shape)) return gradient;
  const added = gradient.shape.length - shape.length;
  const axes = gradient.shape.flatMap((size, axis) =>
    axis < added || (shape[axis - added] === 1 && size !== 1) ? [axis] : [],
  );
  const keepDimensions = axes.some((axis) => axis >= added);
  const summed = ops.sum(gradient, { axes, keepDimensions });
  return keepDimensions && added > 0 ? ops.squeeze(summed, axes.slice(0, added)) : summed;
}

/** A gradient repeated to an operand's shape. */
export function expandTo(ops: Ops, gradient: Value, { shape }: Spec): Value {
  return sameShape(gradient.shape, shape) ? gradient : ops.expand(repeated(gradient) ?? gradient, shape);
}

/** Zeros of the dtype and shape of x. */
export function zerosLike(ops: Ops, { dtype, shape }: Spec): Value {
  const zero = constant(dtype, 0);
  return shape.length === 0 ? zero : ops.expand(zero, shape);
}

/** `gradient · factor` of broadcasting shapes: nothing to do for a one, and what is repeated is repeated afterwards. */
export function times(ops: Ops, gradient: Value, factor: Value): Value {
  const short = repeated(gradient);
  if (short !== undefined) {
    const shape = broadcast(gradient.shape, factor.shape);
    return expandTo(ops, times(ops, short, factor), { dtype: gradient.dtype, shape });
  }
  return constantScalar(gradient) === 1 ? factor : ops.mul(gradient, factor);
}

/** `gradient ÷ divisor` of broadcasting shapes; what is repeated is repeated afterwards. */
export function over(ops: Ops, gradient: Value, divisor: Value): Value {
  const short = repeated(gradient);
  if (short === undefined) return ops.div(gradient, divisor);
  const shape = broadcast(gradient.shape, divisor.shape);
  return expandTo(ops, over(ops, short, divisor), { dtype: gradient.dtype, shape });
}

/**
 * `slope` where the gradient that arrives is not 0, else 0: what `where` turned away must not come back as 0 · ∞. Nothing
 * to do for a gradient that is a constant other than 0.
 */
export function unlessZero(ops: Ops, gradient: Value, slope: Value): Value {
  const known = constantScalar(repeated(gradient) ?? gradient);
  if (known !== undefined && known !== 0) return slope;
  const short = unrepeated(gradient, slope);
  return ops.where(ops.equal(short, 0), 0, slope);
}

/** `gradient · factor`, worked out now for a constant, and before it is repeated for a repetition. */
export function scale(ops: Ops, gradient: Value, factor: number): Value {
  if (factor === 1) return gradient;
  const known = constantScalar(gradient);
  if (known !== undefined) return constant(gradient.dtype, known * factor);
  const short = repeated(gradient);
  if (short !== undefined) return ops.expand(scale(ops, short, factor), gradient.shape);
  return factor === -1 ? ops.neg(gradient) : ops.mul(gradient, factor);
}

/** Sum of two gradients of one shape. */
export function plus(ops: Ops, a: Value, b: Value): Value {
  const [first, second] = [repeated(a), repeated(b)];
  if (first !== undefined && second !== undefined) return expandTo(ops, ops.add(first, second), a);
  return ops.add(first ?? a, second ?? b);
}

/** The elements of a gradient in another shape, by `otherwise`; where they are all one scalar, that scalar repeated. */
export function reshaped(ops: Ops, gradient: Value, shape: Shape, otherwise: () => Value): Value {
  const short = repeated(gradient);
  if (short?.shape.length !== 0) return otherwise();
  return shape.length === 0 ? short : ops.expand(short, shape);
}

/** What `gradient` is a repetition of, if broadcasting against `other` repeats it as far; else itself. */
export function unrepeated(gradient: Value, other: Spec): Value {
  const short = repeated(gradient);
  const together = short && broadcastShapes(short.shape, other.shape);
  const wanted = broadcastShapes(gradient.shape, other.shape);
  return short && together && wanted && sameShape(together, wanted) ? short : gradient;
}

/** What a value made by `expand` repeats. */
function repeated({ producer }: Value): Value | undefined {
  if (producer.kind !== "result" || producer.application.operator.name !== "expand") return undefined;
  return producer.application.operands[0];
}

/** The element of a constant scalar. */
export function constantScalar({ producer, shape }: Value): number | undefined {
  return producer.kind === "constant" && shape.length === 0 ? Number(producer.tensor.data[0]) : undefined;
}

/** A constant scalar. */
export function constant(dtype: DType, element: number): Value {
  const scalar = tensor(dtype, [], [element]);
  return makeValue(scalar, { kind: "constant", tensor: scalar });
}

/** An operator that is one ONNX node with one operand, element by element. */
export function unary(
  name: string,
  onnx: string,
  dtypes: readonly DType[],
  gradient?: PlainOperator["gradient"],
): PlainOperator {
  return {
    name,
    onnx,
    infer: eachElement(dtypes),
    ...(gradient === undefined ? {} : { gradient }),
    emit: oneNode(onnx),
  };
}

/** An operator that is one ONNX node with two operands, element by element, broadcasting. */
export function binary(
  name: string,
  onnx: string,
  dtypes: readonly DType[],
  gradient: PlainOperator["gradient"],
  result?: DType,
): PlainOperator {
  return {
    name,
    onnx,
    infer: eachPair(dtypes, result),
    ...(gradient === undefined ? {} : { gradient }),
    emit: oneNode(onnx),
  };
}
