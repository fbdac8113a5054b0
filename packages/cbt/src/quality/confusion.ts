import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkLabelMap, IGNORE, type LabelMap } from "../frames/labels.ts";

/** Pixels by true and answered class, pooled over frames; ignored pixels are in none of the counts. Plain data. */
export interface Confusion {
  /** k. */
  readonly classes: number;
  /** [k · k], row-major by true class. */
  readonly counts: readonly number[];
}

/** What a confusion says. */
export interface Quality {
  /** Mean of the classes' IoU, over the classes that occur in labels or answers; NaN where there is no pixel at all. */
  readonly miou: number;
  /** Intersection ÷ union of every class, [k]; null where the class occurs in neither, 0 where it is only answered. */
  readonly iou: readonly (number | null)[];
  /** Share of the labelled pixels that are answered rightly. */
  readonly pixelAccuracy: number;
}

/** Options of {@link countConfusion}. */
export interface ConfusionOptions {
  /** k ≥ 2. */
  readonly classes: number;
  /** Label of pixels that count nowhere, whatever is answered there. Default 255. */
  readonly ignore?: number;
  /** Counts of other frames to add to. Default none. */
  readonly before?: Confusion;
  /** What the labels are called in errors, e.g. their file. Default "labels". */
  readonly source?: string;
}

const schema = z.strictObject({
  classes: z.int().min(2).max(256),
  ignore: z.int().default(IGNORE),
  before: z.strictObject({ classes: z.int(), counts: z.array(z.number()).readonly() }).optional(),
  source: z.string().default("labels"),
});

/**
 * Counts pixels by true and answered class. Counts of frames, shards and machines are added, never their mean IoU.
 *
 * @param labels [n, h, w].
 * @param answers [n, h, w], classes, at the labels' size.
 * @throws InputError where sizes differ, an id is neither a class nor `ignore` (naming file and value), an answer is no class,
 * `before` has other classes, or on unknown options.
 */
export function countConfusion(labels: LabelMap, answers: LabelMap, options: ConfusionOptions): Confusion {
  const caller = "cbt.countConfusion";
  const { classes, ignore, before, source } = parseOptions(caller, schema, options);
  checkLabelMap(caller, labels, classes, ignore, source);
  // Whatever is answered at an ignored pixel counts nowhere, so any id may stand there.
  const { shape, data } = (answers ?? {}) as Partial<LabelMap>;
  if (shape?.join() !== labels.shape.join() || data?.length !== labels.data.length) {
    const actual = shape === undefined ? typeof answers : `[${shape.join(", ")}] for [${labels.shape.join(", ")}]`;
    const fix = "Resize logits (not classes) to the labels' size: resizeLogits.";
    throw new InputError(caller, `answers must have the size of ${source}`, actual, fix);
  }
  if (before !== undefined && before.counts.length !== classes ** 2) {
    throw new InputError(caller, `before must have ${classes} classes`, `${before.classes}`);
  }
  const counts = before === undefined ? new Array<number>(classes ** 2).fill(0) : [...before.counts];
  for (let at = 0; at < data.length; at++) {
    const label = labels.data[at]!;
    if (label === ignore) continue;
    const answer = data[at]!;
    if (!(answer >= 0 && answer < classes)) {
      throw new InputError(caller, `answers must be classes 0 to ${classes - 1}`, `${answer} at pixel ${at}`);
    }
    counts[label * classes + answer]!++;
  }
  return { classes, counts };
}

/**
 * IoU_k = counts[k][k] ÷ (row k + column k − counts[k][k]) from pooled counts, their mean over the classes that occur, and pixel
 * accuracy.
 *
 * @throws InputError on something else than counts of k × k pixels.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { countConfusion, segmentationQuality } from "@exitkit/cbt";
 * const labels = tensor("uint8", [1, 1, 6], [0, 0, 1, 1, 2, 255]);
 * const answers = tensor("uint8", [1, 1, 6], [0, 1, 1, 1, 0, 3]);
 * const { iou, miou } = segmentationQuality(countConfusion(labels, answers, { classes: 4 }));
 * console.assert(iou[3] === null && Math.abs(miou - 1 / 3) < 1e-12); // 1/3, 2/3, 0
 * ```
 */
export function segmentationQuality(confusion: Confusion): Quality {
  const { classes, counts } = (confusion ?? {}) as Partial<Confusion>;
  if (!Array.isArray(counts) || counts.length !== (classes ?? 0) ** 2 || counts.length === 0) {
    const caller = "cbt.segmentationQuality";
    throw new InputError(caller, "confusion must be what countConfusion gives", typeof confusion);
  }
  const k = classes!;
  let right = 0;
  let all = 0;
  const iou = Array.from({ length: k }, (_, c) => {
    let union = 0;
    for (let other = 0; other < k; other++) {
      all += counts[c * k + other]!;
      union += counts[c * k + other]! + (other === c ? 0 : counts[other * k + c]!);
    }
    right += counts[c * k + c]!;
    return union === 0 ? null : counts[c * k + c]! / union;
  });
  const seen = iou.filter((value) => value !== null);
  return { miou: seen.reduce((sum, value) => sum + value, 0) / seen.length, iou, pixelAccuracy: right / all };
}
