import * as ops from "../../ops/index.ts";
import type { Value } from "../../value.ts";
import type { ImportNode } from "../node.ts";
import type { Rules } from "./rule.ts";

/** NumPy's matmul: a vector on the left is a row, one on the right a column, and that axis is dropped again. */
function matmul(node: ImportNode): Value {
  const [a, b] = [node.value(0), node.value(1)];
  const row = a.shape.length === 1;
  const column = b.shape.length === 1;
  if (!row && !column) return ops.matmul(a, b);
  const product = ops.matmul(row ? ops.unsqueeze(a, 0) : a, column ? ops.unsqueeze(b, 1) : b);
  return ops.squeeze(product, [...(row ? [-2] : []), ...(column ? [-1] : [])]);
}

/** `alpha · a · b + beta · c`. */
function gemm(node: ImportNode): Value {
  const transposeA = node.int("transA", 0) === 1;
  const transposeB = node.int("transB", 0) === 1;
  const [alpha, beta] = [node.float("alpha", 1), node.float("beta", 1)];
  const [a, b] = [node.value(0), node.value(1)];
  const added = node.has(2) && beta !== 0 ? node.value(2) : undefined;
  const isBias = added === undefined || (added.shape.length === 1 && added.shape[0] === b.shape[0]);
  if (!transposeA && transposeB && alpha === 1 && beta === 1 && isBias) return ops.linear(a, b, added);
  const product = ops.matmul(a, b, { transposeA, transposeB });
  const scaled = alpha === 1 ? product : ops.mul(product, alpha);
  if (added === undefined) return scaled;
  return ops.add(scaled, beta === 1 ? added : ops.mul(added, beta));
}

/** An equation without a result sums over the letters that stand twice and puts the others in alphabetical order. */
function einsum(node: ImportNode): Value {
  const equation = node.text("equation", "").replace(/\s+/g, "");
  const letters = [...equation.replaceAll(",", "")];
  const single = letters.filter((letter) => letters.indexOf(letter) === letters.lastIndexOf(letter)).sort();
  const operands = Array.from({ length: node.inputCount }, (_, index) => node.value(index));
  return ops.einsum(equation.includes("->") ? equation : `${equation}->${single.join("")}`, ...operands);
}

export const linear: Rules = {
  MatMul: matmul,
  Gemm: gemm,
  Einsum: einsum,
};
