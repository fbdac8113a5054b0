/** The lower factor L of L·Lᵀ, in the lower triangle; null where the matrix is not positive definite. */
export function choleskyFactor(matrix: Float64Array, d: number): Float64Array | null {
  const factor = matrix.slice();
  for (let j = 0; j < d; j++) {
    const own = factor.subarray(j * d, j * d + j);
    let diagonal = factor[j * d + j]!;
    for (const value of own) diagonal -= value * value;
    if (!(diagonal > 0)) return null;
    const root = Math.sqrt(diagonal);
    factor[j * d + j] = root;
    for (let i = j + 1; i < d; i++) {
      const row = i * d;
      let sum = factor[row + j]!;
      for (let p = 0; p < j; p++) sum -= factor[row + p]! * own[p]!;
      factor[row + j] = sum / root;
    }
  }
  return factor;
}

/** Solves L·Lᵀ x = b in place. */
export function choleskySolve(factor: Float64Array, d: number, b: Float64Array): void {
  for (let i = 0; i < d; i++) {
    let sum = b[i]!;
    for (let j = 0; j < i; j++) sum -= factor[i * d + j]! * b[j]!;
    b[i] = sum / factor[i * d + i]!;
  }
  for (let i = d - 1; i >= 0; i--) {
    let sum = b[i]!;
    for (let j = i + 1; j < d; j++) sum -= factor[j * d + i]! * b[j]!;
    b[i] = sum / factor[i * d + i]!;
  }
}
