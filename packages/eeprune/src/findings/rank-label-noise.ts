import { InputError } from "@exitkit/core-gpu";
import { byId } from "../columns/by-id.ts";
import { type Column, integers, reals } from "../columns/column.ts";
import type { ScoreColumns } from "../columns/score-columns.ts";

/** What {@link rankLabelNoise} looks at; `BriefRun` has it. */
export interface LabelEvidence {
  /** `[n]` 0 … k − 1, as given. */
  readonly labels: Column;
  readonly classes: number;
  readonly early: ScoreColumns;
  readonly final: ScoreColumns;
  readonly ids?: Column;
}

/** A sample whose label both exits contradict. */
export interface Suspect {
  readonly id: number;
  readonly label: number;
  /** What both exits answer. */
  readonly answer: number;
  /** The product of both exits' probabilities of that answer. */
  readonly confidence: number;
}

/**
 * Samples whose labels may be wrong: those on which both exits agree against the label, the surest first; of equals the smaller id.
 *
 * @returns Those alone; a sample on which the exits disagree is hard, not suspect.
 * @throws InputError on columns that do not fit each other.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { rankLabelNoise, scoreColumns } from "@exitkit/eeprune";
 * const labels = [0, 1, 1];
 * const scores = scoreColumns(tensor("float32", [3, 2], [3, 0, 4, 0, 0, 2]), labels);
 * const [first, ...others] = rankLabelNoise({ labels, classes: 2, early: scores, final: scores });
 * console.assert(first?.id === 1 && first.answer === 0 && others.length === 0);
 * ```
 */
export function rankLabelNoise(evidence: LabelEvidence): readonly Suspect[] {
  const caller = "eeprune.rankLabelNoise";
  if (typeof evidence !== "object" || evidence === null) {
    throw new InputError(caller, "evidence must be a record { labels, classes, early, final }", String(evidence));
  }
  const { classes, early, final } = evidence;
  const labels = integers(caller, "labels", evidence.labels, { below: classes });
  const n = labels.length;
  const ids =
    evidence.ids === undefined ? byId(caller, n, undefined).ids : integers(caller, "ids", evidence.ids, { n });
  const predictions = { early: early?.prediction, final: final?.prediction };
  const [one, other] = Object.entries(predictions).map(([exit, column]) =>
    integers(caller, `${exit}.prediction`, column, { n, below: classes }),
  );
  const sure = { early: early?.confidence, final: final?.confidence };
  const [ofOne, ofOther] = Object.entries(sure).map(([exit, column]) =>
    reals(caller, `${exit}.confidence`, column, { n, from: 0, to: 1 }),
  );
  const suspects: Suspect[] = [];
  for (let i = 0; i < n; i++) {
    if (one![i] !== other![i] || one![i] === labels[i]) continue;
    const confidence = ofOne![i]! * ofOther![i]!;
    suspects.push({ id: ids[i]!, label: labels[i]!, answer: one![i]!, confidence });
  }
  return suspects.sort((a, b) => b.confidence - a.confidence || a.id - b.id);
}
