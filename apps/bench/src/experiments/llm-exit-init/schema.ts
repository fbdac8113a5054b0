import { z } from "zod";
import { wordedClaimSchema } from "../../measuring/claims.ts";
import { amount, share } from "../../measuring/ranges.ts";
import { list, resultSchema } from "../result.ts";

/** How well an exit predicts the next token. */
const score = {
  model: z.string(),
  /** Blocks in front of the exit. */
  layer: amount,
  accuracy: share,
  /** Nats a token. */
  crossEntropy: z.number(),
};

const row = z.object({
  ...score,
  /** How the head began. */
  init: z.string(),
  /** `closed form`: not trained; `frozen`: the heads alone; `not frozen`: the decoder too. */
  setting: z.enum(["closed form", "frozen", "not frozen"]),
  epoch: amount,
  /** Share of tokens where the full model answers the same. */
  agreement: share,
  /** The full model's accuracy on the same tokens, at that epoch. */
  full: z.number(),
  /** Of a trained row. */
  seed: z.number().optional(),
});

const alpha = z.object({ ...score, partner: z.string(), combineBias: z.string(), alpha: z.number() });

const noise = z.object({ ...score, factor: z.number(), n0: z.number() });

/** A head trained alone at one rate: does it get worse at first? */
const rate = z.object({ ...score, init: z.string(), learningRate: z.number(), epoch: z.number() });

/** A head on text of another kind than it was made of. */
const shift = z.object({
  ...score,
  /** How the head began. */
  init: z.string(),
  /** `as it was`, `made anew`, `merged` (the statistics of both texts), `trained`. */
  way: z.enum(["as it was", "made anew", "merged", "trained"]),
  /** Of the new text that were used. */
  tokens: z.number(),
  epochs: z.number(),
  /** For the pass and what is solved, or the training; judging and calibration text are not in it. */
  seconds: z.number(),
  full: z.number(),
});

const model = z.object({
  name: z.string(),
  parameters: amount,
  layers: amount,
  width: amount,
  vocabulary: amount,
  text: z.string(),
  /** Tokens of each part of the text. */
  fit: z.number(),
  calibration: z.number(),
  test: amount,
  training: z.number(),
  /** Tokens of the vocabulary that the fitted text has not. */
  unseen: z.number(),
  /** Of the statistics of one exit, Gram matrix and cross sums included. */
  statisticsBytes: amount,
  accuracy: share,
  crossEntropy: z.number(),
});

const speed = z.object({
  model: z.string(),
  /** What one exit sums up. */
  sums: z.string(),
  /** Plain inference ÷ inference with sums, medians over rounds of both. */
  fraction: z.number(),
  plainTokensPerSecond: amount,
  rounds: amount,
});

/** A piece of text, and the first exit that would have said it right: an index into `exits`; null where none would. */
const piece = z.object({ text: z.string(), exit: z.number().nullable() });

/** result.json of llm-exit-init. */
export const schema = resultSchema({
  models: list(model),
  rows: list(row),
  alphas: list(alpha),
  noises: list(noise),
  rates: list(rate),
  shifts: list(shift),
  speeds: list(speed),
  stories: list(z.object({ model: z.string(), exits: list(z.string()), pieces: list(piece) })),
  claims: list(wordedClaimSchema),
});

export type LlmResult = z.output<typeof schema>;
export type LlmRow = LlmResult["rows"][number];
export type LlmModel = LlmResult["models"][number];
export type AlphaRow = LlmResult["alphas"][number];
export type NoiseRow = LlmResult["noises"][number];
export type RateRow = LlmResult["rates"][number];
export type ShiftRow = LlmResult["shifts"][number];
export type SpeedRow = LlmResult["speeds"][number];
export type Story = LlmResult["stories"][number];
export type Claim = LlmResult["claims"][number];
