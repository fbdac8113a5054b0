import type { DType } from "../../tensor.ts";
import { broadcastShapes, type Shape } from "../dimensions.ts";
import type { Attributes } from "../onnx-graph.ts";
import { type Emission, type Operator, refuse, requireDType, requireSameDType } from "../operator.ts";
import type { Spec } from "../spec.ts";

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

/** An operator that is one ONNX node with one operand, element by element. */
export function unary(name: string, onnx: string, dtypes: readonly DType[]): PlainOperator {
  return { name, onnx, infer: eachElement(dtypes), emit: oneNode(onnx) };
}

/** An operator that is one ONNX node with two operands, element by element, broadcasting. */
export function binary(name: string, onnx: string, dtypes: readonly DType[], result?: DType): PlainOperator {
  return { name, onnx, infer: eachPair(dtypes, result), emit: oneNode(onnx) };
}
