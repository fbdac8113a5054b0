import { InputError, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { type ClassProbabilities, checkClassProbabilities } from "./class-probabilities.ts";

/** Thresholds of the classes at every exit: a pixel is done where the probability of some class exceeds that class' threshold. */
export interface ClassThresholds {
  /** [k], float32 values, the same at every exit. */
  readonly thresholds: readonly number[];
  /** T_k, [k]: largest minus second largest entry of the mean probabilities; the larger the easier. Null for absent classes. */
  readonly ease: readonly (number | null)[];
  /** P_k, [k] of [k]: mean over exits of the mean probabilities of the pixels of class k. Null for absent classes. */
  readonly means: readonly (readonly number[] | null)[];
}

/** Options of {@link classThresholds}. */
export interface ClassThresholdsOptions {
  /** Threshold of the easiest class, in [0, 1]. */
  readonly alpha: number;
  /** Threshold of the hardest class, in [alpha, 1]. */
  readonly beta: number;
  /** Whether the full network's probabilities count among the exits'. Default true. */
  readonly lastExit?: boolean;
  /** What becomes of classes without a pixel: the threshold of the hardest, or an error. Default `hardest`. */
  readonly absent?: "hardest" | "error";
  /** Group of frames whose classes are looked at alone: a camera, "night". Default: all frames. */
  readonly group?: string;
}

const schema = z.strictObject({
  alpha: z.number().min(0).max(1),
  beta: z.number().min(0).max(1),
  lastExit: z.boolean().default(true),
  absent: z.enum(["hardest", "error"]).default("hardest"),
  group: z.string().optional(),
});

/**
 * Class based thresholds: P_k = (1/N) Σ_n p_{n,k} over the exits, T_k = largest − second largest entry of P_k, and inverse min–max
 * onto [α, β], T_k ← (1 − (T_k − min T)/(max T − min T))·(β − α) + α: the easiest class gets exactly α, the hardest exactly β.
 * Where all classes are equally easy all get β. With α = β this is the single threshold of ADP-C.
 *
 * @throws InputError on α > β or outside [0, 1], a class without a pixel where `absent` is "error", no class with pixels, one exit
 * only where `lastExit` is false, a group that was not recorded, or unknown options.
 * Source: CBT, arXiv 2210.15621, steps 2 to 4 [S: slides]; the guard for equal classes [D]; N counts the last exit by default [?].
 * @example
 * ```ts
 * import { classThresholds } from "@exitkit/cbt";
 * // One pixel of each of two classes at one exit: .9 and .6 of probability for its own class.
 * const seen = { classes: 2, masked: false, coordinates: "halfPixel", counts: [1, 1], sums: [[0.9, 0.1, 0.4, 0.6]] } as const;
 * const { thresholds } = classThresholds(seen, { alpha: 0.5, beta: 0.75 });
 * console.assert(thresholds.join() === "0.5,0.75");
 * ```
 */
export function classThresholds(probabilities: ClassProbabilities, options: ClassThresholdsOptions): ClassThresholds {
  const caller = "cbt.classThresholds";
  const { alpha, beta, lastExit, absent, group } = parseOptions(caller, schema, options);
  if (alpha > beta) throw new InputError(caller, "alpha must be at most beta", `alpha ${alpha}, beta ${beta}`);
  checkClassProbabilities(caller, probabilities);
  const { classes, groups = {} } = probabilities;
  if (group !== undefined && !Object.hasOwn(groups, group)) {
    const known = Object.keys(groups).join(", ");
    const fix = "Name groups with the frames: accumulateClassProbabilities([{ logits, labels, group }]).";
    throw new InputError(
      caller,
      `group must be one of ${known || "those recorded, of which there are none"}`,
      group,
      fix,
    );
  }
  const { counts, sums } = group === undefined ? probabilities : groups[group]!;
  const used = lastExit ? sums : sums.slice(0, -1);
  if (used.length === 0) {
    throw new InputError(caller, "there must be an early exit where the last does not count", "one exit in all");
  }
  const missing = [...counts.keys()].filter((c) => counts[c] === 0);
  if (missing.length === classes || (absent === "error" && missing.length > 0)) {
    const fix = 'Record more frames, or give such classes the hardest threshold: absent: "hardest".';
    throw new InputError(caller, "every class must have pixels", `none of class ${missing.join(", ")}`, fix);
  }
  const means = counts.map((count, c) =>
    count === 0
      ? null
      : Array.from({ length: classes }, (_, of) => {
          const total = used.reduce((sum, exit) => sum + exit[c * classes + of]! / count, 0);
          return total / used.length;
        }),
  );
  const ease = means.map((mean) => {
    if (mean === null) return null;
    const [first, second] = [...mean].sort((a, b) => b - a) as [number, number];
    return first - second;
  });
  const present = ease.filter((value) => value !== null);
  const [least, most] = [Math.min(...present), Math.max(...present)];
  const thresholds = ease.map((value) => {
    if (value === null || value === least) return Math.fround(beta);
    if (value === most) return Math.fround(alpha);
    return Math.fround((1 - (value - least) / (most - least)) * (beta - alpha) + alpha);
  });
  return { thresholds, ease, means };
}
