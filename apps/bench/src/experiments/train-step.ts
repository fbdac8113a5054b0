import { openDevice } from "@exitkit/core-gpu";
import { quantile } from "../measuring/timing.ts";
import { trainStepSchema } from "../report/train-types.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";
import { openStep, STEPS, type StepModel } from "./train/step-runner.ts";

/** The training step of one network. */
export interface StepRow {
  readonly model: string;
  readonly batch: number;
  /** What it ran on: cpu, webgpu or cuda. */
  readonly device: string;
  /** Rows of a batch a second: pictures, or sequences of the decoder. */
  readonly imagesPerSecond: number;
  /** Billions of FLOPs a second; six FLOPs for every multiply-accumulate of the forward pass. */
  readonly gflops: number;
  /** What the rows of a batch are. */
  readonly unit: string;
  /** Median over the timed steps, and their quartiles. */
  readonly stepMs: number;
  readonly stepQuartiles: readonly [number, number];
  readonly runs: number;
  readonly compileSeconds: number;
  readonly parameters: number;
  readonly nodes: number;
}

/** Milliseconds to spend on one network and the least number of steps to time. */
const PLANS: Readonly<Record<Context["preset"], { readonly budget: number; readonly least: number }>> = {
  quick: { budget: 5000, least: 3 },
  full: { budget: 30_000, least: 11 },
};

const WARM_UP = 2;

/** How fast networks are trained. */
export const trainStep = legacy(
  {
    name: "train-step",
    heading: "The speed of training",
    title: "How fast networks are trained: ResNet-20 and -56, a small ViT, a small decoder",
    about:
      "Whole training steps (forward, gradients, optimiser) as one program on ONNX Runtime: pictures a second and GFLOP/s. " +
      "peers/compare-train-step.mjs runs the same networks in PyTorch, in turn.",
    run,
  },
  trainStepSchema,
);

async function run(context: Context): Promise<ExperimentResult> {
  const { run: folder, progress, preset, seed } = context;
  const device = await openDevice(context.device);
  const rows: StepRow[] = [];
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    const models = Object.keys(STEPS) as StepModel[];
    const stage = progress.stage("timing training steps", models.length, "networks");
    for (const model of models) {
      const row = await folder.step(model, async () => {
        const measured = await measureStep(device, model, seed, PLANS[preset]);
        await folder.metric({ ...measured });
        return measured;
      });
      rows.push(row);
      stage.advance(1);
    }
    stage.done();
  } finally {
    await device.close();
  }
  return { values: { ranOn: device.kind, rows }, summary: summary(rows) };
}

/** Times the training step of one network. @throws Error when its loss is not finite. */
export async function measureStep(
  device: Awaited<ReturnType<typeof openDevice>>,
  model: StepModel,
  seed: number,
  { budget, least }: { readonly budget: number; readonly least: number },
  batch?: number,
): Promise<StepRow> {
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
      stepQuartiles: [quantile(times, 0.25), quantile(times, 0.75)],
      runs: times.length,
      compileSeconds: step.compileSeconds,
      parameters: step.parameters,
      nodes: step.nodes,
    };
  } finally {
    await step.release();
  }
}

function summary(rows: readonly StepRow[]) {
  return {
    head: ["network", "batch", "a step", "a second", "GFLOP/s", "compiled in", "steps"],
    rows: rows.map((row) => [
      row.model,
      `${row.batch} ${row.unit}`,
      `${row.stepMs.toFixed(0)} ms`,
      row.imagesPerSecond.toFixed(1),
      row.gflops.toFixed(1),
      `${row.compileSeconds.toFixed(1)} s`,
      row.runs,
    ]),
    notes: ["Times are medians. Six FLOPs for every multiply-accumulate of the forward pass."],
  };
}
