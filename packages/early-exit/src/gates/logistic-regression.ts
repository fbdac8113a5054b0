/** P(label 1) = 1 / (1 + exp(−(Σ_f weights[f]·x[f] + offset))). */
export interface Logistic {
  readonly weights: readonly number[];
  readonly offset: number;
}

/**
 * Weighted logistic regression by Newton's method with halved steps: the minimum of
 * Σ_i w_i·ln(1 + exp(−y_i·z_i)) + ridge/2·|weights|², y = ±1; the offset is not shrunk.
 *
 * @param features `[f][n]`
 * @param labels `[n]` of 0 and 1; both must come with a weight above 0, or there is no minimum.
 * @param importance `[n]` ≥ 0
 * @param ridge > 0
 */
export function logisticRegression(
  features: readonly Float64Array[],
  labels: Uint8Array,
  importance: Float64Array,
  ridge: number,
): Logistic {
  const f = features.length;
  const n = labels.length;
  let at = new Float64Array(f + 1); // the offset last
  let { value, gradient, curvature } = derivatives(at);
  for (let iteration = 0; iteration < 100; iteration++) {
    const step = solve(curvature, gradient);
    let scale = 1;
    let next = derivatives(moved(scale));
    while (next.value > value && scale > 1e-10) {
      scale /= 2;
      next = derivatives(moved(scale));
    }
    if (next.value > value) break;
    const change = Math.max(...step.map((part, place) => Math.abs(scale * part) / (1 + Math.abs(at[place]!))));
    at = moved(scale);
    ({ value, gradient, curvature } = next);
    if (change < 1e-12) break;

    function moved(by: number): Float64Array<ArrayBuffer> {
      return at.map((part, place) => part - by * step[place]!);
    }
  }
  return { weights: [...at.subarray(0, f)], offset: at[f]! };

  function derivatives(here: Float64Array) {
    const gradient = new Float64Array(f + 1);
    const curvature = Array.from({ length: f + 1 }, () => new Float64Array(f + 1));
    let value = 0;
    for (let place = 0; place < f; place++) {
      value += 0.5 * ridge * here[place]! ** 2;
      gradient[place] = ridge * here[place]!;
      curvature[place]![place] = ridge;
    }
    const x = new Float64Array(f + 1).fill(1);
    for (let i = 0; i < n; i++) {
      let z = here[f]!;
      for (let place = 0; place < f; place++) {
        x[place] = features[place]![i]!;
        z += here[place]! * x[place]!;
      }
      const wrongness = labels[i] === 1 ? -z : z;
      const p = 1 / (1 + Math.exp(-z));
      const w = importance[i]!;
      value += w * (Math.max(wrongness, 0) + Math.log1p(Math.exp(-Math.abs(wrongness))));
      for (let row = 0; row <= f; row++) {
        gradient[row]! += w * (p - labels[i]!) * x[row]!;
        for (let column = 0; column <= row; column++)
          curvature[row]![column]! += w * p * (1 - p) * x[row]! * x[column]!;
      }
    }
    return { value, gradient, curvature };
  }
}

/** Solves A·s = b for a symmetric, positive definite A of which the lower triangle is given. */
function solve(a: readonly Float64Array[], b: Float64Array): Float64Array {
  const size = b.length;
  // L·Lᵀ = A. What underflow makes singular is held away from 0: the step is then short of Newton's, but downhill.
  const l = a.map((row) => Float64Array.from(row));
  for (let row = 0; row < size; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = a[row]![column]!;
      for (let k = 0; k < column; k++) sum -= l[row]![k]! * l[column]![k]!;
      l[row]![column] = row === column ? Math.sqrt(Math.max(sum, 1e-12)) : sum / l[column]![column]!;
    }
  }
  const s = Float64Array.from(b);
  for (let row = 0; row < size; row++) {
    for (let k = 0; k < row; k++) s[row]! -= l[row]![k]! * s[k]!;
    s[row]! /= l[row]![row]!;
  }
  for (let row = size - 1; row >= 0; row--) {
    for (let k = row + 1; k < size; k++) s[row]! -= l[k]![row]! * s[k]!;
    s[row]! /= l[row]![row]!;
  }
  return s;
}
