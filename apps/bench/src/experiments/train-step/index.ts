import { onDevice } from "../../measuring/device.ts";
import { eachStep } from "../../measuring/steps.ts";
import { type Context, experiment } from "../experiment.ts";
import { list, resultSchema } from "../result.ts";
import { measureStep, type StepPlan, stepSchema } from "./measure.ts";
import { report, summary } from "./report.ts";
import { STEPS, type StepModel } from "./step-runner.ts";

/** How fast networks are trained. */
export const trainStep = experiment({
  name: "train-step",
  title: "How fast networks are trained: ResNet-20 and -56, a small ViT, a small decoder",
  about:
    "Whole training steps (forward, gradients, optimiser) as one program on ONNX Runtime: pictures a second and GFLOP/s. " +
    "peers/compare-train-step.mjs runs the same networks in PyTorch, in turn.",
  heading: "The speed of training",
  presets: { quick: { budget: 5000, least: 3 }, full: { budget: 30_000, least: 11 } },
  schema: resultSchema({ rows: list(stepSchema) }),
  run,
  summary,
  report,
});

async function run(context: Context, plan: StepPlan) {
  const { run: folder, seed } = context;
  return onDevice(context, async (device) => {
    const models = Object.keys(STEPS) as StepModel[];
    const rows = await eachStep(context, ["timing training steps", "networks"], models, String, async (model) => {
      const measured = await measureStep(device, model, seed, plan);
      await folder.metric({ ...measured });
      return measured;
    });
    return { ranOn: device.kind, rows };
  });
}
