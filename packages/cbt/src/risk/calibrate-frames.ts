import { type Generator, InputError, parseOptions } from "@exitkit/core-gpu";
import { meanIsBelow } from "@exitkit/early-exit";
import { z } from "zod";
import type { FrameMeasures } from "./measure-frames.ts";

/** Options of {@link calibrateFrames}. */
export interface CalibrateFramesOptions {
  /** `changed`: share of a frame's pixels answered otherwise than by the full network; `miouLoss`: what its mean IoU loses. */
  readonly risk: "changed" | "miouLoss";
  /** Mean over frames to come that may not be exceeded, in (0, 1). */
  readonly maxRisk: number;
  /** Probability, over the frames that were measured, that it is exceeded all the same; in (0, 1). Default 0.1. */
  readonly delta?: number;
  /** Seeded; puts the frames in random order. Advanced. */
  readonly random: Generator;
}

/** Thresholds, and what is guaranteed of them. */
export interface CalibratedFrames {
  /** Place on the path; null where no point passed: then nothing may be done early. */
  readonly point: number | null;
  /** The thresholds there; 2, which nothing exceeds, where no point passed. */
  readonly thresholds: FrameMeasures["path"][number];
  /** The guaranteed mean: `maxRisk`, or 0 where nothing is done early. */
  readonly bound: number;
  /** The mean seen. */
  readonly risk: number;
  /** Mean cost seen, MACs ÷ the plain network's; null where no point passed. */
  readonly cost: number | null;
  /** Points that were tested; the last of them failed unless the path came to its end. */
  readonly tested: number;
  readonly frames: number;
}

const schema = z.strictObject({
  risk: z.enum(["changed", "miouLoss"]),
  maxRisk: z.number().gt(0).lt(1),
  delta: z.number().gt(0).lt(1).default(0.1),
  random: z.custom<Generator>((value) => typeof (value as Generator | undefined)?.permutation === "function", {
    message: "must be a generator, e.g. generator(1) of core-gpu",
  }),
});

/**
 * Chooses thresholds whose risk, the mean over frames to come, is at most `maxRisk` with probability at least 1 − δ over the frames that
 * were measured: P(R(thresholds) ≤ maxRisk) ≥ 1 − δ. Frames are the independent draws, not pixels: those of one frame go wrong together. The
 * path's points are tested from the most cautious on, each at level δ by betting against "the mean is `maxRisk` or more", until the first
 * fails; of those that passed the cheapest is returned.
 *
 * The path must not come from these frames, and frames of one drive are no independent draws of all drives: the promise is for frames
 * like those measured.
 *
 * @throws InputError on measures that `measureFrames` did not give, or options out of range.
 * Source: Angelopoulos et al., "Learn then Test", 2021 (fixed-sequence testing) [D]; the test is early-exit's `meanIsBelow`. Differs from
 * early-exit's `calibrate`: a path is given, and a frame's loss of mean IoU is no mean over its pixels.
 * @example
 * ```ts
 * import { generator } from "@exitkit/core-gpu";
 * import { calibrateFrames } from "@exitkit/cbt";
 * // 100 frames; the second thresholds change a tenth of the pixels.
 * const all = (value: number) => Array.from({ length: 100 }, () => value);
 * const measures = { path: [0.99, 0.5], changed: [all(0), all(0.1)], miouLoss: [all(0), all(0.2)], cost: [all(0.8), all(0.4)] };
 * const { thresholds, bound, cost } = calibrateFrames(measures, { risk: "changed", maxRisk: 0.05, random: generator(1) });
 * console.assert(thresholds === 0.99 && bound === 0.05 && Math.abs(cost! - 0.8) < 1e-9);
 * ```
 */
export function calibrateFrames(measures: FrameMeasures, options: CalibrateFramesOptions): CalibratedFrames {
  const caller = "cbt.calibrateFrames";
  const { risk, maxRisk, delta, random } = parseOptions(caller, schema, options);
  const frames = checkMeasures(caller, measures);
  const order = random.permutation(frames);
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / frames;
  let best: Pick<CalibratedFrames, "point" | "thresholds" | "bound" | "risk" | "cost"> = {
    point: null,
    thresholds: 2,
    bound: 0,
    risk: 0,
    cost: null,
  };
  let tested = 0;
  for (const [point, thresholds] of measures.path.entries()) {
    const losses = measures[risk][point]!;
    tested++;
    const shuffled = Float64Array.from(order, (frame) => losses[frame]!);
    if (!meanIsBelow(shuffled, maxRisk, delta)) break;
    const cost = mean(measures.cost[point]!);
    if (best.cost === null || cost < best.cost) {
      best = { point, thresholds, bound: maxRisk, risk: mean(losses), cost };
    }
  }
  return { ...best, tested, frames };
}

function checkMeasures(caller: string, measures: FrameMeasures): number {
  const { path, changed, miouLoss, cost } = (measures ?? {}) as Partial<FrameMeasures>;
  const frames = changed?.[0]?.length;
  const fits = (lists: unknown, least: number, most: number) =>
    Array.isArray(lists) &&
    lists.length === path?.length &&
    lists.every(
      (own) => Array.isArray(own) && own.length === frames && own.every((value) => value >= least && value <= most),
    );
  const whole = Array.isArray(path) && path.length > 0 && frames !== undefined && frames > 0;
  if (whole && fits(changed, 0, 1) && fits(miouLoss, -1, 1) && fits(cost, 0, Number.MAX_VALUE)) return frames;
  const actual =
    measures === null || typeof measures !== "object" ? String(measures) : Object.keys(measures).join(", ");
  throw new InputError(caller, "measures must be what measureFrames gives", actual || "an empty object");
}
