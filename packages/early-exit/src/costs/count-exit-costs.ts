import { countMacs, type Device, macsUpTo, parseOptions, probeShapes } from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitModel } from "../exits/exits.ts";
import { type ExitCosts, exitCosts } from "./cost.ts";

/** Options of {@link countExitCosts}. */
export interface CountExitCostsOptions {
  /** Shape of one sample, without the batch. Default: what the model states. */
  readonly sampleShape?: readonly number[];
  /** Whether products with weights that are exactly 0 are left out, as of `countMacs`. Default false. */
  readonly skipZeros?: boolean;
}

const optionsSchema = z.strictObject({
  sampleShape: z.array(z.int().min(1)).readonly().optional(),
  skipZeros: z.boolean().default(false),
});

/**
 * What leaving at each exit costs a sample, counted in the graph: the backbone up to the exit's tap, and every exit visited
 * on the way with its own head. Convolutions and matrix products count, as `countMacs` does.
 *
 * Differs: what a head computes in other ways (the distances of class means, pooling) is not counted; `classMeansOverhead`
 * counts distances.
 * @throws InputError where the shape of a sample is not known, or costs do not increase from exit to exit.
 */
export async function countExitCosts(
  device: Device,
  { model, input, exits }: ExitModel,
  options: CountExitCostsOptions = {},
): Promise<ExitCosts> {
  const { sampleShape, skipZeros } = parseOptions("early-exit.countExitCosts", optionsSchema, options);
  const shapes = await probeShapes(device, model, sampleShape === undefined ? {} : { [input]: [1, ...sampleShape] });
  const count = countMacs(model, shapes, { skipZeros });
  const backbone = exits.map(({ tap }) => macsUpTo(model, count, [tap]));
  const overheads = exits
    .slice(0, -1)
    .map(({ tap, confidence, prediction }, j) => macsUpTo(model, count, [tap, confidence, prediction]) - backbone[j]!);
  return exitCosts({ backbone, overheads });
}
