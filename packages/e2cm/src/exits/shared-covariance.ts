import { type Device, InputError } from "@exitkit/core-gpu";
import { pause } from "../pause.ts";
import type { ClassStatistics, ExitStatistics } from "../statistics/statistics.ts";
import { choleskyFactor, choleskySolve, type Multiplier, openMultiplier } from "./cholesky.ts";
import { type DiscriminantSpace, discriminantSpace } from "./discriminant-space.ts";
import { lowRankFactor, type ShrunkSolver, shrunkSolvers } from "./low-rank.ts";

/** λ: how far the covariance is drawn to independence: a weight in [0, 1], or the analytic one. */
export type Shrinkage = number | "analytic";

/** One linear layer per exit: scores = x·W + b, the log posteriors of the classes up to a constant of the sample. */
export interface LinearExit {
  /** W, row-major [d, k]. */
  readonly weights: Float32Array;
  /** b, [k]. */
  readonly bias: Float32Array;
  /** Shrinkage weight λ in [0, 1] that was used. */
  readonly shrinkage: number;
  /** Where distances to the means are taken; null for exits saved before it was kept. */
  readonly space: DiscriminantSpace | null;
}

/**
 * The Bayes rule for classes that are Gaussian with their own means and one shared covariance, in closed form.
 *
 * With class means μ_k, priors P_k = |S_k|/N and the within-class covariance
 * Σ = (Σ_i x_i x_iᵀ − Σ_k |S_k| μ_k μ_kᵀ)/(N − K), scaled to a correlation matrix R = D^(−½) Σ D^(−½) and shrunk,
 * R_λ = (1 − λ) R + λ I, the log posterior is linear in x:
 * log P(k|x) = x·w_k + b_k + const, w_k = Σ_λ⁻¹ (μ_k − μ), b_k = ln P_k − ½ (μ_k + μ)·w_k, μ = mean of the μ_k.
 * The analytic λ is the oracle-approximating shrinkage of Chen, Wiesel, Eldar and Hero (2010).
 *
 * Source: the Gaussian argument of the thesis' language-model chapter (Görmez, UIC 2024: M_v as weights, η_v as bias [S]).
 * Differs: the covariance is estimated, not assumed white; the features are pooled; no Euclidean distance is left.
 *
 * @returns One linear layer for each shrinkage.
 * @throws InputError when the statistics have no Gram matrix.
 */
export async function solveSharedCovariance(
  caller: string,
  device: Device,
  statistics: ClassStatistics,
  exit: ExitStatistics,
  shrinkages: readonly Shrinkage[],
): Promise<readonly LinearExit[]> {
  const { counts, classes: k } = statistics;
  const { d, sums, gram } = exit;
  if (gram === null) {
    throw new InputError(
      caller,
      "shared covariance needs statistics with Gram matrices",
      `none at "${exit.tap}"`,
      'Accumulate with metric: "sharedCovariance".',
    );
  }
  const n = counts.reduce((total, count) => total + count, 0);
  const means = sums.map((sum, index) => sum / counts[Math.floor(index / d)]!);
  const centre = averageRow(means, k, d);
  const degrees = Math.max(1, n - k);
  const { correlation, deviation, constant } = await withinClassCorrelation(gram, means, counts, d, k, degrees);
  await pause();
  const analytic = oracleApproximatingShrinkage(correlation, d, degrees);
  const multiplier = await openMultiplier(device);
  try {
    // Fewer samples than features: what is independent of each other is fewer still.
    const solver =
      n <= d
        ? await lowRankSolver(device, correlation, d, Math.max(0, n - k), constant, multiplier)
        : (shrinkage: number) => denseSolver(correlation, d, shrinkage, multiplier);
    const layers: LinearExit[] = [];
    for (const asked of shrinkages) {
      await pause();
      const shrinkage = asked === "analytic" ? analytic : asked;
      let solve: ShrunkSolver;
      try {
        solve = await solver(shrinkage);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        const actual = `one of ${n} samples and ${d} features with shrinkage ${shrinkage}`;
        const fix = 'Use a shrinkage above 0, or "analytic".';
        throw new InputError(caller, `the covariance at "${exit.tap}" must be invertible`, actual, fix, error);
      }
      const layer = await linearLayer(solve, d, k, means, centre, deviation, counts, n);
      await pause();
      const space = discriminantSpace(layer.weights, layer.bias, means, centre);
      layers.push({ weights: Float32Array.from(layer.weights), bias: Float32Array.from(layer.bias), shrinkage, space });
    }
    return layers;
  } finally {
    await multiplier.release();
  }
}

/** Average of the rows of a matrix [k, d]. */
function averageRow(matrix: Float64Array, k: number, d: number): Float64Array {
  const average = new Float64Array(d);
  for (let c = 0; c < k; c++) for (let i = 0; i < d; i++) average[i]! += matrix[c * d + i]! / k;
  return average;
}

/** Solves with (1 − λ) R + λ I as it is. */
async function denseSolver(
  correlation: Float64Array,
  d: number,
  shrinkage: number,
  multiplier: Multiplier,
): Promise<ShrunkSolver> {
  const factor = shrunk(correlation, d, shrinkage);
  await choleskyFactor(factor, d, multiplier);
  return (b) => choleskySolve(factor, d, b);
}

/** The same in the rank of R, which the samples bound. Features that never vary stand on their own: R is 1 there and stays it. */
async function lowRankSolver(
  device: Device,
  correlation: Float64Array,
  d: number,
  most: number,
  constant: readonly number[],
  multiplier: Multiplier,
): Promise<(shrinkage: number) => Promise<ShrunkSolver>> {
  for (const i of constant) correlation[i * d + i] = 0;
  const prepared = await shrunkSolvers(await lowRankFactor(device, correlation, d, most), d, multiplier);
  return async (shrinkage) => {
    if (shrinkage === 0) throw new RangeError(`a matrix [${d}, ${d}] of rank ${most} at most is singular`);
    const solve = await prepared(shrinkage);
    return (b) => {
      const own = constant.map((i) => b[i]!);
      solve(b);
      constant.forEach((i, at) => {
        b[i] = own[at]!;
      });
    };
  };
}

/** (1 − λ) R + λ I of a correlation matrix. */
function shrunk(correlation: Float64Array, d: number, shrinkage: number): Float64Array {
  const result = new Float64Array(d * d);
  for (let index = 0; index < d * d; index++) result[index] = (1 - shrinkage) * correlation[index]!;
  for (let i = 0; i < d; i++) result[i * d + i] = 1;
  return result;
}

async function linearLayer(
  solve: ShrunkSolver,
  d: number,
  k: number,
  means: Float64Array,
  centre: Float64Array,
  deviation: Float64Array,
  counts: Float64Array,
  n: number,
): Promise<{ weights: Float64Array; bias: Float64Array }> {
  const weights = new Float64Array(d * k);
  const bias = new Float64Array(k);
  for (let c = 0; c < k; c++) {
    const direction = Float64Array.from({ length: d }, (_, i) => (means[c * d + i]! - centre[i]!) / deviation[i]!);
    await pause();
    solve(direction);
    let offset = Math.log(counts[c]! / n);
    for (let i = 0; i < d; i++) {
      const weight = direction[i]! / deviation[i]!;
      weights[i * k + c] = weight;
      offset -= 0.5 * (means[c * d + i]! + centre[i]!) * weight;
    }
    bias[c] = offset;
  }
  return { weights, bias };
}

/** R = D^(−½) Σ D^(−½) and the deviations √diag Σ; a feature that never varies gets the deviation 1 and no correlation. */
async function withinClassCorrelation(
  gram: Float64Array,
  means: Float64Array,
  counts: Float64Array,
  d: number,
  k: number,
  degrees: number,
): Promise<{ correlation: Float64Array; deviation: Float64Array; constant: readonly number[] }> {
  const correlation = gram.slice();
  for (let c = 0; c < k; c++) {
    await pause();
    takeOffMean(correlation, means.subarray(c * d, (c + 1) * d), counts[c]!);
  }
  await pause();
  const deviation = Float64Array.from({ length: d }, (_, i) => {
    const variance = correlation[i * d + i]! / degrees;
    const noise = 1e-9 * (gram[i * d + i]! / degrees);
    return variance > noise && variance > 1e-20 ? Math.sqrt(variance) : 0;
  });
  scaleBy(correlation, deviation, degrees);
  const constant = Array.from(deviation.keys()).filter((i) => deviation[i] === 0);
  return { correlation, deviation: deviation.map((value) => (value === 0 ? 1 : value)), constant };
}

/** Takes n μ μᵀ off a matrix. Not in the asynchronous function: V8 leaves its loops unoptimised. */
function takeOffMean(matrix: Float64Array, mean: Float64Array, n: number): void {
  const d = mean.length;
  for (let i = 0; i < d; i++) {
    const scaled = n * mean[i]!;
    if (scaled === 0) continue;
    const row = i * d;
    for (let j = 0; j < d; j++) matrix[row + j]! -= scaled * mean[j]!;
  }
}

/** Sums of products over degrees of freedom to correlations. */
function scaleBy(matrix: Float64Array, deviation: Float64Array, degrees: number): void {
  const d = deviation.length;
  for (let i = 0; i < d; i++) {
    for (let j = 0; j < d; j++) {
      const scale = deviation[i]! * deviation[j]! * degrees;
      matrix[i * d + j] = i === j ? 1 : scale === 0 ? 0 : matrix[i * d + j]! / scale;
    }
  }
}

/**
 * λ = ((1 − 2/d) tr R² + d²) / ((m + 1 − 2/d)(tr R² − d)), at most 1, for a d×d correlation matrix from m degrees of freedom.
 *
 * Source: Chen, Wiesel, Eldar, Hero, "Shrinkage algorithms for MMSE covariance estimation", IEEE TSP 2010, equation 23,
 * with tr R = d.
 */
function oracleApproximatingShrinkage(correlation: Float64Array, d: number, degrees: number): number {
  let squares = 0;
  for (let index = 0; index < d * d; index++) squares += correlation[index]! * correlation[index]!;
  const below = (degrees + 1 - 2 / d) * (squares - d);
  if (below <= 0) return 1;
  return Math.min(1, ((1 - 2 / d) * squares + d * d) / below);
}
