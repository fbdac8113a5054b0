import type { Device } from "@exitkit/core-gpu";
import { z } from "zod";
import { quantile } from "../../measuring/timing.ts";
import { openStep, type StepModel } from "./step-runner.ts";

/** The training step of one network. */
export const stepSchema = z.object({
  model: z.string(),
  batch: z.number(),
  /** What it ran on: cpu, webgpu or cuda. */
  device: z.string(),
  /** Rows of a batch a second: pictures, or sequences of the decoder. */
  imagesPerSecond: z.number(),
  /** Billions of FLOPs a second; six FLOPs for every multiply-accumulate of the forward pass. */
  gflops: z.number(),
  /** What the rows of a batch are. */
  unit: z.string().default("pictures"),
  /** Median over the timed steps, and their quartiles. */
  stepMs: z.number(),
  stepQuartiles: z.tuple([z.number(), z.number()]).readonly().optional(),
  runs: z.number(),
  compileSeconds: z.number(),
  parameters: z.number().optional(),
  nodes: z.number().optional(),
});

/** Milliseconds to spend on one network and the least number of steps to time. */
export interface StepPlan {
  readonly budget: number;
  readonly least: number;
}

const WARM_UP = 2;

/** Times the training step of one network. @throws Error when its loss is not finite. */
export async function measureStep(
  device: Device,
  model: StepModel,
  seed: number,
  { budget, least }: StepPlan,
  batch?: number,
) {
  const step = await openStep(device, model, batch, seed);
  try {
    for (let count = 0; count < WARM_UP; count++) await step.step();
    const times: number[] = [];
    for (let spent = 0; times.length < least || spent < budget; spent += times.at(-1)!) {
      const begun = performance.now();
      const loss = await step.step();
      times.push(performance.now() - begun);
      if (!Number.isFinite(loss)) throw new Error(`train-step: the loss of ${model} became ${loss}`);
    }
    const stepMs = quantile(times, 0.5);
    return {
      model,
      batch: step.batch,
      device: device.kind,
      imagesPerSecond: (step.batch * 1000) / stepMs,
      gflops: step.flops / stepMs / 1e6,
      unit: step.network.unit,
      stepMs,
      stepQuartiles: [quantile(times, 0.25), quantile(times, 0.75)] as const,
      runs: times.length,
      compileSeconds: step.compileSeconds,
      parameters: step.parameters,
      nodes: step.nodes,
    };
  } finally {
    await step.release();
  }
}
