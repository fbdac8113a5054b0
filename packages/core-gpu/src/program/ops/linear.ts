import { z } from "zod";
import { broadcastShapes, type Dimension, type Shape } from "../dimensions.ts";
import {
  type Emission,
  floats,
  type Operator,
  refuse,
  requireDType,
  requireRank,
  requireSameDType,
} from "../operator.ts";
import { applyOne, type Operand, operatorOptions, type Value } from "../value.ts";
import { sumTo } from "./common.ts";

interface Transposed {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** The last two dimensions of a matrix operand as the product sees them. */
function matrixOf(shape: Shape, transposed: boolean): readonly [Dimension, Dimension] {
  const [rows, columns] = shape.slice(-2) as [Dimension, Dimension];
  return transposed ? [columns, rows] : [rows, columns];
}

const MatMul: Operator<Transposed> = {
  name: "matmul",
  onnx: "MatMul",
  infer([a, b], { transposeA, transposeB }) {
    requireDType(floats, a!, b!);
    requireSameDType(a!, b!);
    if (a!.shape.length < 2 || b!.shape.length < 2) refuse("both operands must have 2 dimensions or more");
    const [m, inner] = matrixOf(a!.shape, transposeA);
    const [rows, columns] = matrixOf(b!.shape, transposeB);
    if (inner !== rows) refuse("[…, m, k] · […, k, n] must have the same k", undefined, "Transpose one of them?");
    const batch: Shape =
      broadcastShapes(a!.shape.slice(0, -2), b!.shape.slice(0, -2)) ??
      refuse("the dimensions before the last two must broadcast");
    return [{ dtype: a!.dtype, shape: [...batch, m, columns] }];
  },
  gradient({ ops, attributes: { transposeA, transposeB }, operands: [a, b], gradients: [d], needed }) {
    const gradientOfA = (): Value =>
      transposeA
        ? ops.matmul(b!, d!, { transposeA: transposeB, transposeB: true })
        : ops.matmul(d!, b!, { transposeB: !transposeB });
    const gradientOfB = (): Value => {
      // One matrix for all of a batch: the products are summed by one longer product.
      if (b!.shape.length === 2 && a!.shape.length > 2 && !transposeA) {
        const rows = ops.reshape(d!, [-1, d!.shape.at(-1)!]);
        const from = ops.reshape(a!, [-1, a!.shape.at(-1)!]);
        return transposeB ? ops.matmul(rows, from, { transposeA: true }) : ops.matmul(from, rows, { transposeA: true });
      }
      return transposeB
        ? ops.matmul(d!, a!, { transposeA: true, transposeB: transposeA })
        : ops.matmul(a!, d!, { transposeA: !transposeA });
    };
    return [needed[0] ? sumTo(ops, gradientOfA(), a!) : null, needed[1] ? sumTo(ops, gradientOfB(), b!) : null];
  },
  emit({ graph, attributes: { transposeA, transposeB }, inputs: [a, b], outputs, inputSpecs }) {
    const plain = !transposeA && !transposeB;
    if (!plain && inputSpecs.every(({ shape }) => shape.length === 2)) {
      const flags = { transA: transposeA ? 1 : 0, transB: transposeB ? 1 : 0 };
      graph.node("Gemm", [a!, b!], flags, outputs);
      return;
    }
    // ONNX Runtime fuses these Transposes into its product.
    const swapped = (name: string, rank: number): string => {
      const perm = Array.from({ length: rank }, (_, axis) => axis);
      perm.push(...perm.splice(-2).reverse());
      return graph.node("Transpose", [name], { perm });
    };
    const left = transposeA ? swapped(a!, inputSpecs[0]!.shape.length) : a!;
    const right = transposeB ? swapped(b!, inputSpecs[1]!.shape.length) : b!;
    graph.node("MatMul", [left, right], {}, outputs);
  },
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
  gradient({ ops, operands: [x, weight], gradients: [d], needed }) {
    const [k, features] = weight!.shape as [Dimension, Dimension];
    const flat = (value: Value, size: Dimension): Value =>
      value.shape.length === 2 ? value : ops.reshape(value, [-1, size]);
    return [
      needed[0] ? ops.matmul(d!, weight!) : null,
      needed[1] ? ops.matmul(flat(d!, k), flat(x!, features), { transposeA: true }) : null,
      needed[2] ? ops.sum(flat(d!, k), { axes: 0 }) : null,
    ];
  },
  emit(application: Emission) {
    const { graph, inputs, outputs, inputSpecs, outputSpecs } = application;
    const [x, weight, ...bias] = inputs;
    const [spec] = inputSpecs;
    if (spec!.shape.length === 2) {
      graph.node("Gemm", inputs, { transB: 1 }, outputs);
      return;
    }
    // One product for all rows; the reshapes move nothing.
    const rows = graph.node("Flatten", [x!], { axis: spec!.shape.length - 1 });
    const product = graph.node("Gemm", [rows, weight!, ...bias], { transB: 1 });
    const { shape } = outputSpecs[0]!;
    const known = shape.map((dimension) => (typeof dimension === "number" ? dimension : -1));
    const simple = known.filter((size) => size === -1).length <= 1 && !shape.includes(0);
    const list = simple ? graph.ints(known) : graph.shape(shape, [{ name: x!, spec: spec! }]);
    const allowZero = shape.includes(0) && graph.opset >= 14 ? { allowzero: 1 } : {};
    graph.node("Reshape", [product, list], allowZero, outputs);
  },
};

export const operators = [MatMul, Linear] as readonly Operator[];

/** Options of {@link matmul}. */
export interface MatmulOptions {
  /** Take a with its last two axes exchanged: [..., k, m]. Default false. */
  readonly transposeA?: boolean;
  /** Take b with its last two axes exchanged: [..., n, k]. Default false. */
  readonly transposeB?: boolean;
}

const matmulOptions = z.strictObject({
  transposeA: z.boolean().default(false),
  transposeB: z.boolean().default(false),
});

/**
 * Matrix product `a [..., m, k] · b [..., k, n]` → `[..., m, n]`; the dimensions before broadcast; float32 or float64.
 * ONNX MatMul, or Gemm where two matrices are taken transposed.
 *
 * @param options Transposes here cost less than `ops.transpose` before.
 */
export function matmul(a: Operand, b: Operand, options?: MatmulOptions): Value {
  return applyOne(MatMul, [a, b], operatorOptions("matmul", matmulOptions, options));
}

/**
 * Fully connected layer `x · weightᵀ + bias`, PyTorch's `linear`: x [..., d], weight [k, d], bias [k] → [..., k]; float32
 * or float64. ONNX Gemm (between Flatten and Reshape for x of more than two dimensions).
 */
export function linear(x: Operand, weight: Operand, bias?: Operand): Value {
  return applyOne(Linear, bias === undefined ? [x, weight] : [x, weight, bias], {});
}
