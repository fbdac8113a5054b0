import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";
import type { EpochColumns } from "../brief-run/brief-run.ts";
import type { Column } from "../columns/column.ts";
import type { ScoreColumns } from "../columns/score-columns.ts";

/** What one further training says at its end, for scores that are averaged over several. */
export interface RunEvidence {
  readonly final: ScoreColumns;
  /** `[n, d]`; GraNd needs it. */
  readonly features?: Tensor | RuntimeTensor | null;
  /** `[n]` of `gradientNorms`; the full GraNd needs it. */
  readonly gradientNorms?: Column;
}

/**
 * What methods choose by: what `briefRun` gives, or the same from elsewhere. All parts are of the same n samples in the same order;
 * a method says what it lacks.
 */
export interface Evidence {
  /** `[n]` 0 … k − 1. */
  readonly labels: Column;
  /** k */
  readonly classes: number;
  /** As in `EarlyExitColumns`. */
  readonly ids?: Column;
  /** What the early exit says. */
  readonly early?: ScoreColumns;
  /** What the final exit says. */
  readonly final?: ScoreColumns;
  /** The same while training, by epoch. */
  readonly epochs?: readonly EpochColumns[];
  /** `[n, d]` float: features, of any network; for GraNd those that the last linear layer reads. */
  readonly features?: Tensor | RuntimeTensor | null;
  /** `[n]` of `gradientNorms`: the norms of the samples' gradients with respect to all parameters. */
  readonly gradientNorms?: Column;
  /** `[n, ...]` float: the samples themselves. */
  readonly inputs?: Tensor | RuntimeTensor;
  /** Further runs from other first weights, for EL2N and GraNd: scores are means over these and the run itself. */
  readonly runs?: readonly RunEvidence[];
  /** What a small network says that was trained to choose for a larger one. */
  readonly proxy?: { readonly final: ScoreColumns };
}

/** Part of the evidence that a method cannot do without. */
export function need<Key extends keyof Evidence>(
  caller: string,
  method: string,
  evidence: Evidence,
  part: Key,
): NonNullable<Evidence[Key]> {
  const found = evidence[part];
  if (found !== undefined && found !== null && !(Array.isArray(found) && found.length === 0)) {
    return found as NonNullable<Evidence[Key]>;
  }
  throw new InputError(caller, `"${method}" needs evidence.${part}`, "none", SOURCES[part]);
}

const SOURCES: Partial<Record<keyof Evidence, string>> = {
  early: "briefRun gives it, or scoreColumns(logits, labels).",
  final: "briefRun gives it, or scoreColumns(logits, labels).",
  epochs: "briefRun gives it.",
  features: "briefRun gives it with the option featuresTap.",
  gradientNorms: "gradientNorms(device, backbone, data) gives it.",
  inputs: "Pass the samples as a tensor [n, …].",
  proxy: "Train a small network with briefRun and pass it.",
};

/** A part that is a float tensor with a row for each sample, as a matrix. */
export interface Matrix {
  readonly n: number;
  readonly d: number;
  readonly data: Float32Array | Float64Array;
}

/** @throws InputError where the tensor is not [n, …] of finite floats. */
export function matrixOf(caller: string, name: string, given: Tensor | RuntimeTensor, n: number): Matrix {
  const tensor = asTensor(given);
  const [rows, ...rest] = Array.isArray(tensor?.shape) ? tensor.shape : [];
  const d = rest.reduce((product, size) => product * size, 1);
  const isFloat = tensor?.dtype === "float32" || tensor?.dtype === "float64";
  if (!isFloat || rows !== n || rest.length === 0 || d === 0) {
    const actual = tensor?.dtype === undefined ? typeof tensor : `${tensor.dtype} [${tensor.shape.join(", ")}]`;
    throw new InputError(caller, `${name} must be a float tensor [${n}, …], a row for each sample`, actual);
  }
  const data = tensor.data as Float32Array | Float64Array;
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return { n, d, data };
  throw new InputError(caller, `${name} must be finite`, `${data[bad]} in row ${Math.floor(bad / d)}`);
}

/** @throws InputError at the first score that is none: NaN is neither larger nor smaller than another. */
export function checkScores(caller: string, name: string, scores: ArrayLike<number>): void {
  const bad = Array.prototype.findIndex.call(scores, Number.isNaN);
  if (bad < 0) return;
  const fix = "The columns of the evidence must be numbers, as scoreColumns gives them.";
  throw new InputError(caller, `scores of "${name}" must be numbers`, `NaN in row ${bad}`, fix);
}

/** The rows of a matrix in another order. */
export function reordered({ n, d, data }: Matrix, order: Int32Array): Matrix {
  const made = data.slice();
  order.forEach((row, at) => {
    made.set(data.subarray(row * d, (row + 1) * d), at * d);
  });
  return { n, d, data: made };
}
