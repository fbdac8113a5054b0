import { InputError, ops, type Tensor, type Value } from "@exitkit/core-gpu";
import { type AutoencoderParameters, decode, encode } from "./autoencoder.ts";

/** Parameters of IDEC: an autoencoder and the clusters' centres among its codes, [k, d]. */
export type IdecParameters<Leaf = Tensor> = AutoencoderParameters<Leaf> & { readonly centres: Leaf };

/** What one batch costs. */
export interface IdecLoss {
  /** []: reconstruction + γ · clustering. */
  readonly loss: Value;
  /** []: mean squared error over pictures and pixels. */
  readonly reconstruction: Value;
  /** []: KL(P‖Q), summed over clusters, averaged over pictures. */
  readonly clustering: Value;
}

/**
 * Scores whose softmax is the soft assignment of Student's t with one degree of freedom:
 *
 * `q_ij = (1 + ‖z_i − μ_j‖²)⁻¹ ÷ Σ_l (1 + ‖z_i − μ_l‖²)⁻¹`, so the scores are `−ln(1 + ‖z_i − μ_j‖²)`.
 *
 * @param codes z, [n, d].
 * @param centres μ, [k, d].
 * @returns [n, k].
 * Source: DEC and IDEC, α = 1 [S].
 */
export function assignmentScores(codes: Value, centres: Value): Value {
  const differences = ops.sub(ops.unsqueeze(codes, 1), ops.unsqueeze(centres, 0));
  return ops.neg(ops.log(ops.add(ops.sumSquares(differences, { axes: [2], keepDimensions: false }), 1)));
}

/**
 * The target distribution `p_ij = (q_ij² ÷ f_j) ÷ Σ_l (q_il² ÷ f_l)`, with `f_j = Σ_i q_ij` over all n samples: surer than
 * q, and fair to small clusters. Sums in float64.
 *
 * @param q Soft assignments, [n·k], row by row.
 * @returns p, [n·k].
 * @throws InputError when q has no whole number of rows.
 * Source: DEC, equation 3 [S].
 */
export function targetDistribution(q: Float32Array, k: number): Float32Array {
  if (q.length === 0 || q.length % k !== 0) {
    throw new InputError("bench.targetDistribution", `a whole number (≥ 1) of rows of ${k}`, `${q.length} numbers`);
  }
  const f = new Float64Array(k);
  for (let at = 0; at < q.length; at++) f[at % k]! += q[at]!;
  const p = new Float32Array(q.length);
  const row = new Float64Array(k);
  for (let from = 0; from < q.length; from += k) {
    let sum = 0;
    for (let j = 0; j < k; j++) {
      // A cluster that nothing belongs to has f = 0 and q = 0: it gets nothing.
      row[j] = f[j] === 0 ? 0 : q[from + j]! ** 2 / f[j]!;
      sum += row[j]!;
    }
    for (let j = 0; j < k; j++) p[from + j] = row[j]! / sum;
  }
  return p;
}

/**
 * IDEC's loss of a batch: `mean (x − x̂)² + γ · KL(P‖Q)`.
 *
 * @param x Pictures, [n, pixels].
 * @param target Their rows of the target distribution, [n, k]; a constant for the gradient.
 * @param gamma γ, the weight of the clustering; 0.1 in the paper.
 * Source: Guo, Gao, Liu, Yin, "Improved Deep Embedded Clustering with Local Structure Preservation", IJCAI 2017 [S].
 */
export function idecLoss(params: IdecParameters<Value>, x: Value, target: Value, gamma: number): IdecLoss {
  const { code } = encode(params.encoder, x);
  const logAssignments = ops.logSoftmax(assignmentScores(code, params.centres));
  const reconstruction = ops.mse(decode(params.decoder, code), x);
  const clustering = ops.klDivergence(logAssignments, target);
  return { loss: ops.add(reconstruction, ops.mul(clustering, gamma)), reconstruction, clustering };
}
