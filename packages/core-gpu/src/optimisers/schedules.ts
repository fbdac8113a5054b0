import { z } from "zod";
import { InputError } from "../errors.ts";
import { parseOptions } from "../options.ts";

/** A learning rate for every step; steps count from 0, the number of updates made so far. */
export type Schedule = (step: number) => number;

const rate = z.number().min(0);
const count = z.int().min(1);

/** The same rate always. @param value At least 0. @throws InputError on any other value. */
export function constant(value: number): Schedule {
  const caller = "core-gpu.schedules.constant";
  if (!(Number.isFinite(value) && value >= 0)) throw new InputError(caller, "the rate must be at least 0", `${value}`);
  return checked(caller, () => value);
}

/** Options of {@link step}. */
export interface StepOptions {
  /** The rate at step 0. */
  readonly initial: number;
  /** What the rate is multiplied by at each boundary. Default 0.1. */
  readonly factor?: number;
  /** A number of steps, after each of which the factor applies; or the steps at which it does, ascending. */
  readonly boundaries: number | readonly number[];
}

const stepOptions = z.strictObject({
  initial: rate,
  factor: rate.default(0.1),
  boundaries: z.union([count, z.array(z.int().min(0))]),
});

/**
 * Falls in steps: `initial·factorᵏ` after k boundaries.
 *
 * Source: as `torch.optim.lr_scheduler.StepLR` (a number) and `MultiStepLR` (a list).
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { schedules } from "@exitkit/core-gpu";
 * const rate = schedules.step({ initial: 0.1, boundaries: [80, 120] });
 * console.assert(rate(79) === 0.1 && Math.abs(rate(80) - 0.01) < 1e-12);
 * ```
 */
export function step(options: StepOptions): Schedule {
  const caller = "core-gpu.schedules.step";
  const { initial, factor, boundaries } = parseOptions(caller, stepOptions, options);
  if (typeof boundaries !== "number" && boundaries.some((at, index) => index > 0 && at <= boundaries[index - 1]!)) {
    throw new InputError(caller, "boundaries must ascend", `[${boundaries.join(", ")}]`);
  }
  return checked(caller, (at) => {
    const passed =
      typeof boundaries === "number"
        ? Math.floor(at / boundaries)
        : boundaries.filter((boundary) => boundary <= at).length;
    return initial * factor ** passed;
  });
}

/** Options of {@link cosine}. */
export interface CosineOptions {
  /** The rate at step 0. */
  readonly initial: number;
  /** Steps until the rate is `final`, where it stays. */
  readonly steps: number;
  /** Default 0. */
  readonly final?: number;
}

const cosineOptions = z.strictObject({ initial: rate, steps: count, final: rate.default(0) });

/**
 * Half a cosine: `final + (initial − final)·(1 + cos(π·t ÷ steps)) ÷ 2`, then `final`.
 *
 * Source: Loshchilov and Hutter, SGDR (2017), without restarts; as `torch.optim.lr_scheduler.CosineAnnealingLR`.
 * Differs: PyTorch's rises again after `steps`.
 * @throws InputError on an option that is unknown or out of range.
 */
export function cosine(options: CosineOptions): Schedule {
  const caller = "core-gpu.schedules.cosine";
  const { initial, steps, final } = parseOptions(caller, cosineOptions, options);
  return checked(caller, (at) => cosineBetween(initial, final, Math.min(at / steps, 1)));
}

/** Options of {@link polynomial}. */
export interface PolynomialOptions extends CosineOptions {
  /** Above 0. Default 1: a straight line. */
  readonly power?: number;
}

const polynomialOptions = z.strictObject({ ...cosineOptions.shape, power: z.number().positive().default(1) });

/**
 * `final + (initial − final)·(1 − t ÷ steps)^power`, then `final`.
 *
 * Source: as `torch.optim.lr_scheduler.PolynomialLR` (whose final rate is 0).
 * @throws InputError on an option that is unknown or out of range.
 */
export function polynomial(options: PolynomialOptions): Schedule {
  const caller = "core-gpu.schedules.polynomial";
  const { initial, steps, final, power } = parseOptions(caller, polynomialOptions, options);
  return checked(caller, (at) => final + (initial - final) * (1 - Math.min(at / steps, 1)) ** power);
}

/** Options of {@link warmUp}. */
export interface WarmUpOptions {
  /** Steps of the straight line. */
  readonly steps: number;
  /** The rate at step 0. Default 0. */
  readonly start?: number;
}

const warmUpOptions = z.strictObject({
  steps: count,
  start: rate.default(0),
});

/**
 * A straight line up to another schedule: `start + (schedule(0) − start)·t ÷ steps`, from `steps` on
 * `schedule(t − steps)`.
 *
 * Source: Goyal et al., Accurate, large minibatch SGD (2017); as `torch.optim.lr_scheduler.LinearLR` in `SequentialLR`.
 * @throws InputError on an option that is unknown or out of range.
 * @example
 * ```ts
 * import { schedules } from "@exitkit/core-gpu";
 * const rate = schedules.warmUp(schedules.cosine({ initial: 0.1, steps: 95 }), { steps: 5 });
 * console.assert(rate(0) === 0 && rate(5) === 0.1 && rate(100) === 0);
 * ```
 */
export function warmUp(schedule: Schedule, options: WarmUpOptions): Schedule {
  const caller = "core-gpu.schedules.warmUp";
  if (typeof schedule !== "function") {
    throw new InputError(caller, "the schedule that follows must be a function of the step", String(schedule));
  }
  const { steps, start } = parseOptions(caller, warmUpOptions, options);
  return checked(caller, (at) => (at < steps ? start + ((schedule(0) - start) * at) / steps : schedule(at - steps)));
}

/** Options of {@link oneCycle}. */
export interface OneCycleOptions {
  /** The highest rate. */
  readonly maximum: number;
  /** Steps of the whole cycle, at least 2. */
  readonly steps: number;
  /** Part of the steps in which the rate rises, in (0, 1). Default 0.3. */
  readonly rise?: number;
  /** The first rate is `maximum ÷ initialDivisor`. Default 25. */
  readonly initialDivisor?: number;
  /** The last rate is the first ÷ `finalDivisor`. Default 10⁴. */
  readonly finalDivisor?: number;
  /** The form of both parts. Default `"cosine"`. */
  readonly form?: "cosine" | "linear";
}

const oneCycleOptions = z.strictObject({
  maximum: rate,
  steps: z.int().min(2),
  rise: z.number().gt(0).lt(1).default(0.3),
  initialDivisor: z.number().positive().default(25),
  finalDivisor: z.number().positive().default(1e4),
  form: z.enum(["cosine", "linear"]).default("cosine"),
});

/**
 * One rise and one fall: from `maximum ÷ initialDivisor` up to `maximum` at step `rise·steps − 1`, then down to
 * `maximum ÷ (initialDivisor·finalDivisor)` at step `steps − 1`, where it stays.
 *
 * Source: Smith and Topin, Super-convergence (2018), as `torch.optim.lr_scheduler.OneCycleLR`.
 * Differs: the momentum is left alone, and steps after the last are allowed.
 * @throws InputError on an option that is unknown or out of range.
 */
export function oneCycle(options: OneCycleOptions): Schedule {
  const caller = "core-gpu.schedules.oneCycle";
  const { maximum, steps, rise, initialDivisor, finalDivisor, form } = parseOptions(caller, oneCycleOptions, options);
  const top = Math.max(rise * steps - 1, 0);
  const first = maximum / initialDivisor;
  const between = form === "cosine" ? cosineBetween : lineBetween;
  return checked(caller, (at) => {
    if (at <= top) return top === 0 ? maximum : between(first, maximum, at / top);
    return between(maximum, first / finalDivisor, Math.min((at - top) / (steps - 1 - top), 1));
  });
}

const lineBetween = (from: number, to: number, part: number): number => from + (to - from) * part;

const cosineBetween = (from: number, to: number, part: number): number =>
  to + ((from - to) * (1 + Math.cos(Math.PI * part))) / 2;

function checked(caller: string, schedule: Schedule): Schedule {
  return (at) => {
    if (Number.isSafeInteger(at) && at >= 0) return schedule(at);
    throw new InputError(caller, "a step must be a whole number from 0", String(at));
  };
}
