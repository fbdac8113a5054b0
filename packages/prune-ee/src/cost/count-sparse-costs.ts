import { countMacs, type Device, macsUpTo, type Model, onnx, parseOptions, probeShapes } from "@exitkit/core-gpu";
import { type ExitCosts, type ExitModel, exitCosts } from "@exitkit/early-exit";
import { z } from "zod";
import { densities } from "./densities.ts";

/** Options of {@link countSparseCosts}. */
export interface CountSparseCostsOptions {
  /** Shape of one sample, without the batch. Default: what the model states. */
  readonly sampleShape?: readonly number[];
}

const schema = z.strictObject({ sampleShape: z.array(z.int().min(1)).readonly().optional() });
