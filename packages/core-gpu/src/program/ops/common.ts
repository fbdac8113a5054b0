import type { DType } from "../../tensor.ts";
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
import type { Value } from "../value.ts";

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

/** The gradient of an operand that was broadcast: summed over what it was repeated along, in the operand's shape. */
export function sumTo(ops: Differentiation["ops"], gradient: Value, { shape }: Spec): Value {
  if (sameShape(gradient.shape, shape)) return gradient;
  const added = gradient.shape.length - shape.length;
  const repeated = gradient.shape.flatMap((size, axis) =>
    axis < added || (shape[axis - added] === 1 && size !== 1) ? [axis] : [],
  );
  const summed = repeated.length === 0 ? gradient : ops.sum(gradient, { axes: repeated, keepDimensions: true });
  return added === 0
    ? summed
    : ops.squeeze(
        summed,
        Array.from({ length: added }, (_, axis) => axis),
      );
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
