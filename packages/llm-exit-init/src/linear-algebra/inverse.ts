/**
 * The inverse of a symmetric positive definite matrix A [d, d], by its Cholesky factor: A = L Lᵀ, A⁻¹ = L⁻ᵀ L⁻¹.
 *
 * @throws RangeError when a pivot is not positive: the matrix is not positive definite.
 */
export function inverse(a: Float64Array, d: number): Float64Array {
  const l = factor(a, d);
  const lower = inverseOfLower(l, d);
  const result = new Float64Array(d * d);
  for (let p = 0; p < d; p++) {
    const row = lower.subarray(p * d, p * d + p + 1);
    for (let i = 0; i <= p; i++) {
      const own = row[i]!;
      for (let j = 0; j <= i; j++) result[i * d + j]! += own * row[j]!;
    }
  }
  for (let i = 0; i < d; i++) for (let j = 0; j < i; j++) result[j * d + i] = result[i * d + j]!;
  return result;
}

/** L of A = L Lᵀ, row by row. */
function factor(a: Float64Array, d: number): Float64Array {
  const l = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = a[i * d + j]!;
      for (let p = 0; p < j; p++) rest -= l[i * d + p]! * l[j * d + p]!;
      if (i !== j) l[i * d + j] = rest / l[j * d + j]!;
      else if (rest > 0) l[i * d + i] = Math.sqrt(rest);
      else throw new RangeError(`the matrix is not positive definite: pivot ${i} of ${d} is ${rest}`);
    }
  }
  return l;
}

/** L⁻¹ of a lower triangular matrix, column sums run along rows. */
function inverseOfLower(l: Float64Array, d: number): Float64Array {
  const result = new Float64Array(d * d);
  for (let i = 0; i < d; i++) {
    const pivot = l[i * d + i]!;
    for (let p = 0; p < i; p++) {
      const own = l[i * d + p]!;
      if (own === 0) continue;
      for (let j = 0; j <= p; j++) result[i * d + j]! -= own * result[p * d + j]!;
    }
    for (let j = 0; j < i; j++) result[i * d + j]! /= pivot;
    result[i * d + i] = 1 / pivot;
  }
  return result;
}
