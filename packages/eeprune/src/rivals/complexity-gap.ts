import type { Generator } from "@exitkit/core-gpu";
import type { Matrix } from "./evidence.ts";

/** The most samples of a class that are solved for at once; twice as many make the matrix. */
const PART = 500;

/** Added to the diagonal where the matrix is singular, as with samples that come twice. */
const RIDGE = 1e-6;

/**
 * The complexity gap of every sample, without training: how much the complexity `yᵀH⁻¹y` of a two-layer network that tells a class
 * from as many others falls when the sample is left out. In closed form `((H⁻¹y)ᵢ)² ÷ (H⁻¹)ᵢᵢ`, so that one factorisation gives all.
 *
 * H_ab = ⟨a, b⟩(π − arccos⟨a, b⟩) ÷ 2π of samples of unit norm, ½ on the diagonal; y is 1 for the class and −1 for the others.
 *
 * Source: Ki, Choi, Kwak, "Data Valuation without Training of a Model", ICLR 2023 [S: the authors' code]; the closed form by the
 * Schur complement [D]. Differs: a class of more than 500 samples is dealt into parts at random, each against as many others;
 * 10⁻⁶ is added to the diagonal where H is singular.
 */
export function complexityGap(inputs: Matrix, labels: Int32Array, classes: number, random: Generator): Float64Array {
  const made = new Float64Array(labels.length);
  for (let k = 0; k < classes; k++) {
    const own = random.shuffle([...labels.keys()].filter((i) => labels[i] === k));
    const others = [...labels.keys()].filter((i) => labels[i] !== k);
    const parts = Math.ceil(own.length / PART);
    for (let part = 0; part < parts; part++) {
      const mine = own.filter((_, at) => at % parts === part);
      const against = random.shuffle(others).slice(0, mine.length);
      const gaps = gapsOf(inputs, [...mine, ...against], mine.length);
      mine.forEach((i, at) => {
        made[i] = gaps[at]!;
      });
    }
  }
  return made;
}

/** The gaps of `rows`, the first `positive` of which are of the class. */
export function gapsOf(inputs: Matrix, rows: readonly number[], positive: number): Float64Array {
  const m = rows.length;
  const kernel = kernelOf(inputs, rows);
  const factor = choleskyOf(kernel, m, 0) ?? choleskyOf(kernel, m, RIDGE)!;
  // The inverse of the factor, row by row; H⁻¹ = L⁻ᵀL⁻¹.
  const inverse = new Float64Array(m * m);
  for (let j = 0; j < m; j++) {
    inverse[j * m + j] = 1 / factor[j * m + j]!;
    for (let i = j + 1; i < m; i++) {
      let sum = 0;
      for (let p = j; p < i; p++) sum += factor[i * m + p]! * inverse[p * m + j]!;
      inverse[i * m + j] = -sum / factor[i * m + i]!;
    }
  }
  const solved = new Float64Array(m);
  const half = new Float64Array(m);
  for (let i = 0; i < m; i++) for (let j = 0; j <= i; j++) half[i]! += inverse[i * m + j]! * (j < positive ? 1 : -1);
  const diagonal = new Float64Array(m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j <= i; j++) {
      solved[j]! += inverse[i * m + j]! * half[i]!;
      diagonal[j]! += inverse[i * m + j]! ** 2;
    }
  }
  return solved.map((value, i) => value ** 2 / diagonal[i]!);
}

function kernelOf({ d, data }: Matrix, rows: readonly number[]): Float64Array {
  const m = rows.length;
  const unit = new Float64Array(m * d);
  rows.forEach((row, at) => {
    let square = 0;
    for (let p = 0; p < d; p++) square += data[row * d + p]! ** 2;
    const norm = Math.sqrt(square) || 1;
    for (let p = 0; p < d; p++) unit[at * d + p] = data[row * d + p]! / norm;
  });
  const kernel = new Float64Array(m * m);
  for (let a = 0; a < m; a++) {
    kernel[a * m + a] = 0.5;
    for (let b = 0; b < a; b++) {
      let product = 0;
      for (let p = 0; p < d; p++) product += unit[a * d + p]! * unit[b * d + p]!;
      const cosine = Math.max(-1, Math.min(1, product));
      kernel[a * m + b] = (cosine * (Math.PI - Math.acos(cosine))) / (2 * Math.PI);
    }
  }
  return kernel;
}

/** The lower factor of a matrix given by its lower triangle, with a ridge; null where it is not positive definite. */
function choleskyOf(kernel: Float64Array, m: number, ridge: number): Float64Array | null {
  const l = new Float64Array(m * m);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j <= i; j++) {
      let rest = kernel[i * m + j]! + (i === j ? ridge : 0);
      for (let p = 0; p < j; p++) rest -= l[i * m + p]! * l[j * m + p]!;
      if (i > j) l[i * m + j] = rest / l[j * m + j]!;
      else if (rest > 1e-10) l[i * m + i] = Math.sqrt(rest);
      else return null;
    }
  }
  return l;
}
