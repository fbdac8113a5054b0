import { type Device, type Generator, generator } from "@exitkit/core-gpu";
import {
  type DecoderStates,
  heads,
  judgeHeads,
  noiseOf,
  readStates,
  type StatesBatch,
  statesAt,
  type TokenScores,
  type TokenStatistics,
  takeRows,
} from "@exitkit/llm-exit-init";
import type { AlphaRow, LlmRow, NoiseRow } from "./schema.ts";
import type { Plan } from "./settings.ts";
import type { Subject } from "./subject.ts";

/** Heads of one exit before any training, by the names that rows carry. */
export interface FirstHeads {
  readonly random: heads.TokenHead;
  readonly copy: heads.TokenHead;
  readonly normedCopy: heads.TokenHead;
  readonly classAware: heads.TokenHead;
  readonly calibrated: heads.TokenHead;
  readonly sharedCovariance: heads.TokenHead;
  readonly linearMap: heads.TokenHead;
  readonly best: heads.TokenHead;
}

/** States of a part of the text, all taps at once. */
export async function statesOf(
  device: Device,
  { decoder }: Subject,
  windows: Subject["test"],
  plan: Plan,
): Promise<readonly DecoderStates[]> {
  const found: DecoderStates[] = [];
  const options = { taps: plan.layers.map(tapOf), batchSize: 8 };
  for await (const states of readStates(device, decoder, windows, options)) found.push(states);
  return found;
}

export function tapOf(layer: number): string {
  return `block${layer}`;
}

/** Every closed-form head of one exit. */
export async function firstHeads(
  device: Device,
  subject: Subject,
  raw: TokenStatistics,
  normed: TokenStatistics,
  calibration: readonly StatesBatch[],
  random: Generator,
): Promise<FirstHeads> {
  const { decoder, border } = subject;
  const { output } = decoder;
  const { vocabulary, width: features } = decoder.config;
  const rows = await takeRows(calibration, { vocabulary, ...bordered(border) });
  const classAware = heads.classAware(raw);
  return {
    random: heads.randomUniform(random, { vocabulary, features }),
    copy: heads.copy(output),
    normedCopy: heads.copy(output, { norm: "final" }),
    classAware,
    calibrated: await heads.calibrate(device, classAware, rows),
    sharedCovariance: await heads.sharedCovariance(device, normed),
    linearMap: await heads.linearMap(device, normed, output),
    best: await heads.mapAndClasses(device, normed, output, rows),
  };
}

/** How good every head of one exit is at once. */
export async function judgeFirst(
  device: Device,
  subject: Subject,
  layer: number,
  first: FirstHeads,
  test: readonly DecoderStates[],
): Promise<{ readonly rows: readonly LlmRow[]; readonly crossEntropy: number }> {
  const scores = await judgeHeads(device, Object.values(first), at(test, layer), options(subject));
  return { rows: rowsOf(subject, layer, scores), crossEntropy: scores.full.crossEntropy };
}

function rowsOf({ name: model }: Subject, layer: number, { heads: scores, full }: TokenScores): readonly LlmRow[] {
  return scores.map(({ name, accuracy, crossEntropy, agreement }) => ({
    ...{ model, layer, init: name, setting: "closed form" as const, epoch: 0 },
    ...{ accuracy, crossEntropy, agreement, full: full.accuracy },
  }));
}

/** The best head again, of states that have hidden units: another pass, as its sums are wider. */
export async function judgeHidden(
  device: Device,
  subject: Subject,
  layer: number,
  statistics: TokenStatistics,
  calibration: readonly DecoderStates[],
  test: readonly DecoderStates[],
): Promise<readonly LlmRow[]> {
  const { decoder, border } = subject;
  const { vocabulary } = decoder.config;
  const rows = await takeRows(at(calibration, layer), { vocabulary, ...bordered(border) });
  const head = await heads.mapAndClasses(device, statistics, decoder.output, rows);
  const name = `map + classes, ${statistics.hidden!.bias.shape[0]} hidden units`;
  const found = await judgeHeads(device, [{ ...head, name }], at(test, layer), options(subject));
  return rowsOf(subject, layer, found);
}

/** α·class-aware + (1 − α)·partner, biases mixed or not. */
export async function sweepAlpha(
  device: Device,
  subject: Subject,
  plan: Plan,
  { random, copy, classAware }: FirstHeads,
  test: readonly DecoderStates[],
): Promise<readonly AlphaRow[]> {
  const combinations = [copy, random].flatMap((partner) =>
    (["weight", "both"] as const).flatMap((combineBias) =>
      plan.alphas.map((alpha) => ({ partner, combineBias, alpha })),
    ),
  );
  const mixes = combinations.map(({ partner, ...mix }) => heads.mix(classAware, partner, mix));
  const { heads: scores } = await judgeHeads(device, mixes, at(test, plan.layer), options(subject));
  return combinations.map(({ partner, combineBias, alpha }, index) => ({
    ...{ model: subject.name, layer: plan.layer, partner: partner.name, combineBias, alpha },
    ...{ accuracy: scores[index]!.accuracy, crossEntropy: scores[index]!.crossEntropy },
  }));
}

/** The class-aware head with other noises than the estimate. */
export async function sweepNoise(
  device: Device,
  subject: Subject,
  plan: Plan,
  layer: number,
  raw: TokenStatistics,
  test: readonly DecoderStates[],
): Promise<readonly NoiseRow[]> {
  const n0 = noiseOf(raw);
  const candidates = plan.factors.map((factor) => heads.classAware(raw, { n0: factor * n0 }));
  const { heads: scores } = await judgeHeads(device, candidates, at(test, layer), options(subject));
  return plan.factors.map((factor, index) => ({
    ...{ model: subject.name, layer, factor, n0: factor * n0 },
    ...{ accuracy: scores[index]!.accuracy, crossEntropy: scores[index]!.crossEntropy },
  }));
}

/** The states of one exit. */
export function at(states: readonly DecoderStates[], layer: number): readonly StatesBatch[] {
  return states.map((batch) => statesAt(batch, tapOf(layer)));
}

function options({ decoder, border }: Subject) {
  return { output: decoder.output, ...bordered(border) };
}

export function bordered(border: number | undefined): { readonly border?: number } {
  return border === undefined ? {} : { border };
}

/** A generator for the random heads of an exit. */
export function randomOf(seed: number, layer: number): Generator {
  return generator(1000 * seed + layer);
}
