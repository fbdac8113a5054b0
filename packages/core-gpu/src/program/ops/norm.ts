import type { Operand, Value } from "../value.ts";
import { sqrt } from "./elementary.ts";
import { equal, where } from "./logic.ts";
import { type ReduceOptions, sumSquares } from "./reduce.ts";

/**
 * Euclidean norm `√ Σ x²` over axes (default all); float32 or float64. Its gradient at 0 is 0, as PyTorch's `norm`, where that
 * of `sqrt(sumSquares(x))` is 0 · ∞. ONNX ReduceSumSquare and Sqrt.
 */
export function norm(x: Operand, options?: ReduceOptions): Value {
  const squares = sumSquares(x, options);
  const zero = equal(squares, 0);
  return where(zero, 0, sqrt(where(zero, 1, squares)));
}
