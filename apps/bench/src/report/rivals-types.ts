import { z } from "zod";
import { common, list } from "./common-types.ts";

const point = {
  dataset: z.string(),
  /** e2cm, e2cm-euclidean, sdn, sdn-joint, branchynet, e2cm-sdn, ... */
  method: z.string(),
  /** "one epoch" or "unlimited". */
  budget: z.string(),
  /** Null where nothing is random. */
  seed: z.number().nullable(),
};

/** result.json of e2cm-rivals. Accuracies and fractions are fractions of 1; fractions are of the plain network. */
export const rivalsSchema = z.object({
  experiment: z.literal("e2cm-rivals"),
  ...common,
  datasets: list(
    z.object({
      dataset: z.string(),
      name: z.string(),
      complete: z.boolean(),
      train: z.number(),
      test: z.number(),
      network: z.string(),
      macs: z.number(),
      /** Of the plain network, on all test pictures. */
      accuracy: z.number(),
      /** Null: pretrained. */
      trained: z.object({ epochs: z.number(), seconds: z.number() }).nullable(),
      files: list(z.object({ name: z.string(), sha256: z.string() })),
    }),
  ),
  settings: z
    .object({
      epochs: z.number(),
      batch: z.number(),
      seeds: z.number(),
      timedLoss: z.number(),
      timedFraction: z.number(),
    })
    .optional(),
  rows: list(
    z.object({
      ...point,
      /** The mean cost allowed on calibration pictures; null for a timed setting. */
      askedFraction: z.number().nullable(),
      macsFraction: z.number(),
      accuracy: z.number(),
      /** At batch 64; null where it was not timed. */
      wallFraction: z.number().nullable(),
    }),
  ),
  /** The cheapest setting that loses at most `wantedLoss` against the plain network on calibration pictures. */
  within: list(
    z.object({
      ...point,
      wantedLoss: z.number(),
      macsFraction: z.number().nullable(),
      accuracy: z.number().nullable(),
    }),
  ),
  /** How right each exit is about all test pictures, the network's own answer last. */
  perExit: list(z.object({ ...point, exit: z.number(), macsFraction: z.number(), accuracy: z.number() })),
  training: list(z.object({ ...point, epochs: z.number(), seconds: z.number().nullable() })),
  /** Trainings whose loss became NaN or infinite, and in which step. */
  diverged: list(z.object({ ...point, epochs: z.number(), step: z.number() })),
  /** Largest resident set of a process that fits the method on some pictures; "plain": answers them. */
  memory: list(z.object({ dataset: z.string(), method: z.string(), bytes: z.number() })),
  wall: list(
    z.object({
      ...point,
      /** loss: the cheapest setting within the wanted loss; cost: the best within the allowed cost. */
      asked: z.string(),
      batch: z.number(),
      pictures: z.number(),
      /** Whether the wanted loss could be kept on calibration pictures. */
      within: z.boolean(),
      macsFraction: z.number(),
      accuracy: z.number(),
      fullAccuracy: z.number(),
      wallFraction: z.number(),
      plainMs: z.number(),
      stagedMs: z.number(),
      runs: z.number(),
    }),
  ),
  /** The paper's poster: accuracy at fractions of the cost. */
  poster: z
    .object({
      fractions: z.array(z.number()),
      paper: z.array(z.object({ method: z.string(), accuracies: z.array(z.number()) })),
    })
    .optional(),
  /** The paper's figure of one epoch: points [fraction, accuracy]. */
  figure: list(
    z.object({
      dataset: z.string(),
      network: z.string(),
      method: z.string(),
      points: z.array(z.tuple([z.number(), z.number()])),
    }),
  ),
  claims: list(z.object({ dataset: z.string(), paper: z.string(), measured: z.string(), status: z.string() })),
});

/** result.json of `bench run e2cm-rivals`. */
export type RivalsResult = z.output<typeof rivalsSchema>;
