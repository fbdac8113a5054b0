import { InputError, ops, parseOptions, type Value } from "@exitkit/core-gpu";
import { z } from "zod";

/** How exits learn from softened outputs: early ones from the last, or all from a teacher. */
export interface Distillation {
  /** λ ≥ 0 */
  readonly weight: number;
  /** T > 0: how much the outputs are softened. */
  readonly temperature: number;
}

/** Options of {@link exitsLoss}. */
export interface ExitsLossOptions {
  /** Float `[e]`: the weight of each exit, the last included. A value, so that schedules need no new program. */
  readonly weights: Value;
  /** Default: none. */
  readonly distillation?: Distillation;
  /** `[n, k]`, or [n, t, k]: logits that all exits learn from, the last too. Needs `distillation`. Default: the last exit's, for the early ones. */
  readonly teacher?: Value;
}

/** What {@link exitsLoss} gives. */
export interface ExitsLoss {
  /** `[]` */
  readonly loss: Value;
  /** `[e]` scalars: the cross-entropy of each exit, without its weight. */
  readonly losses: readonly Value[];
}

/** Checks a {@link Distillation}. */
export const distillationSchema = z.strictObject({ weight: z.number().min(0), temperature: z.number().positive() });

const optionsSchema = z.strictObject({
  weights: z.custom<Value>((value) => typeof value === "object" && value !== null, "must be a value [e]"),
  distillation: distillationSchema.optional(),
  teacher: z.custom<Value>((value) => typeof value === "object" && value !== null, "must be a value [n, k]").optional(),
});

/**
 * The loss of all exits together: `Σⱼ wⱼ · (CEⱼ + λ·T²·KL(softmax(z_last ÷ T) ‖ softmax(zⱼ ÷ T)))`, means over the batch;
 * the last exit has no KL term, and no gradient flows into it from the others' terms. With a `teacher` its logits stand for z_last, and
 * the last exit has the term too.
 *
 * @param logits `[e]` values [n, k], or [n, t, k] of tokens, the last exit's last. The mean is over all tokens then.
 * @param labels int64 `[n]`, or `[n, t]`, 0 … k − 1.
 * @throws InputError on no exits, weights that are not [e], a teacher without distillation or an option that is unknown or out of range.
 * Source: the sum is BranchyNet's and Shallow-Deep Networks' [S]; softened outputs as Hinton, Vinyals, Dean, Distilling the
 * Knowledge in a Neural Network (2015), section 2. Differs: the exit's weight applies to its KL term too, so that an exit
 * of weight 0 changes nothing.
 */
export function exitsLoss(logits: readonly Value[], labels: Value, options: ExitsLossOptions): ExitsLoss {
  const caller = "early-exit.exitsLoss";
  const { weights, distillation, teacher } = parseOptions(caller, optionsSchema, options);
  const e = logits.length;
  if (e === 0) throw new InputError(caller, "logits of at least one exit are needed", "none");
  if (weights.shape.length !== 1 || weights.shape[0] !== e) {
    throw new InputError(caller, `weights must be [${e}], one for each exit`, `[${weights.shape.join(", ")}]`);
  }
  const losses = logits.map((exit) => ops.crossEntropy(exit, labels));
  if (teacher !== undefined && distillation === undefined) {
    throw new InputError(caller, "a teacher needs distillation", "none", "Pass distillation: { weight, temperature }.");
  }
  const target = ops.stopGradient(teacher ?? logits.at(-1)!);
  const learners = teacher === undefined ? e - 1 : e;
  const terms = losses.map((loss, j) => {
    const whole =
      distillation === undefined || j >= learners ? loss : ops.add(loss, softened(logits[j]!, target, distillation));
    return ops.mul(whole, ops.squeeze(ops.slice(weights, { axis: 0, from: j, to: j + 1 }), 0));
  });
  return { loss: terms.reduce((sum, term) => ops.add(sum, term)), losses };
}

/** λ·T²·KL(teacher ‖ student), both softened. */
function softened(student: Value, teacher: Value, { weight, temperature }: Distillation): Value {
  const logarithms = (logits: Value): Value => ops.logSoftmax(ops.div(logits, temperature));
  const divergence = ops.klDivergence(logarithms(student), logarithms(teacher), { logTarget: true });
  // A mean over samples so far: over their tokens too.
  const units = (teacher.shape.slice(1, -1) as number[]).reduce((product, size) => product * size, 1);
  return ops.mul(divergence, (weight * temperature ** 2) / units);
}
