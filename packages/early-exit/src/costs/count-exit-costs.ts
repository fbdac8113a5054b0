import { checkArguments, countMacs, type Device, macsUpTo, parseOptions, probeShapes } from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { checkCosts, type ExitCosts } from "./cost.ts";

/** Options of {@link countExitCosts}. */
export interface CountExitCostsOptions {
  /** Shape of one sample, without the batch. Default: what the model states. */
  readonly sampleShape?: readonly number[];
  /** Whether products with weights that are exactly 0 are left out, as of `countMacs`. Default false. */
  readonly skipZeros?: boolean;
  /** Pixels or tokens that a sample is answered in: costs are MACs of one of them, a sample's divided by it. Default 1. */
  readonly units?: number;
}

const optionsSchema = z.strictObject({
  sampleShape: z.array(z.int().min(1)).readonly().optional(),
  skipZeros: z.boolean().default(false),
  units: z.int().min(1).default(1),
});

/**
 * What leaving at each exit costs a sample, counted in the graph: all that the exit and those visited on the way need, each node
 * once: the backbone up to the exit's tap and the heads, or the members of a cascade run so far. `full` is what the last exit's tap needs
 * by itself: the plain network, or a cascade's last member. Convolutions and matrix products count, as `countMacs` does.
 *
 * Differs: what a head computes in other ways (the distances of class means, pooling) is not counted; `classMeansOverhead`
 * counts distances.
 * @throws InputError where the shape of a sample is not known, or costs do not increase from exit to exit.
 */
export async function countExitCosts(
  device: Device,
  exitModel: ExitModel,
  options: CountExitCostsOptions = {},
): Promise<ExitCosts> {
  const caller = "early-exit.countExitCosts";
  checkArguments(caller, { device: [device, "an open device"], exitModel: [exitModel, EXIT_MODEL] });
  const { sampleShape, skipZeros, units } = parseOptions(caller, optionsSchema, options);
  const { model, input, exits } = exitModel;
  const shapes = await probeShapes(device, model, sampleShape === undefined ? {} : { [input]: [1, ...sampleShape] });
  const count = countMacs(model, shapes, { skipZeros });
  const read: string[] = [];
  const costs = exits.map(({ tap, confidence, prediction }) => {
    read.push(tap, confidence, prediction);
    return macsUpTo(model, count, read) / units;
  });
  const found = { exits: costs, full: macsUpTo(model, count, [exits.at(-1)!.tap]) / units };
  checkCosts(caller, found, exits.length);
  return found;
}
