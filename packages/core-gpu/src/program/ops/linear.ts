import { broadcastShapes, type Shape } from "../dimensions.ts";
import { floats, type Operator, refuse, requireDType, requireRank, requireSameDType } from "../operator.ts";
import { applyOne, type Operand, type Value } from "../value.ts";
import { oneNode } from "./common.ts";

const MatMul: Operator = {
  name: "matmul",
  onnx: "MatMul",
  infer([a, b]) {
    requireDType(floats, a!, b!);
    requireSameDType(a!, b!);
    if (a!.shape.length < 2 || b!.shape.length < 2) refuse("both operands must have 2 dimensions or more");
    const [m, inner] = a!.shape.slice(-2);
    const [rows, columns] = b!.shape.slice(-2);
    if (inner !== rows) refuse("[…, m, k] · […, k, n] must have the same k", undefined, "Transpose one of them?");
    const batch: Shape =
      broadcastShapes(a!.shape.slice(0, -2), b!.shape.slice(0, -2)) ??
      refuse("the dimensions before the last two must broadcast");
    return [{ dtype: a!.dtype, shape: [...batch, m!, columns!] }];
  },
  emit: oneNode("MatMul"),
};

const Linear: Operator = {
  name: "linear",
  onnx: "Gemm",
  infer(operands) {
    const [x, weight, bias] = operands;
    requireDType(floats, ...operands);
    requireSameDType(...operands);
    requireRank("weight", weight!, 2);
    if (x!.shape.length < 2) refuse("x must have 2 dimensions or more");
    const [k, d] = weight!.shape;
    if (x!.shape.at(-1) !== d) refuse("x […, d] · weightᵀ [d, k] must have the same d: weight is [k, d]");
    if (bias !== undefined && (bias.shape.length !== 1 || bias.shape[0] !== k)) refuse("bias must have shape [k]");
    return [{ dtype: x!.dtype, shape: [...x!.shape.slice(0, -1), k!] }];
  },
  emit({ graph, inputs, outputs, inputSpecs }) {
    const [x, weight, bias] = inputs;
    if (inputSpecs[0]!.shape.length === 2) {
      graph.node("Gemm", inputs, { transB: 1 }, outputs);
      return;
    }
    const transposed = graph.node("Transpose", [weight!], { perm: [1, 0] });
    if (bias === undefined) graph.node("MatMul", [x!, transposed], {}, outputs);
    else graph.node("Add", [graph.node("MatMul", [x!, transposed]), bias], {}, outputs);
  },
};

export const operators: readonly Operator[] = [MatMul, Linear];

/** Matrix product `a [..., m, k] · b [..., k, n]` → `[..., m, n]`; the dimensions before broadcast. ONNX MatMul. */
export function matmul(a: Operand, b: Operand): Value {
  return applyOne(MatMul, [a, b], {});
}

/**
 * Fully connected layer `x · weightᵀ + bias`, PyTorch's `linear`: x [..., d], weight [k, d], bias [k] → [..., k]; float32
 * or float64. ONNX Gemm (MatMul and Add for x of more than two dimensions).
 */
export function linear(x: Operand, weight: Operand, bias?: Operand): Value {
  return applyOne(Linear, bias === undefined ? [x, weight] : [x, weight, bias], {});
}
