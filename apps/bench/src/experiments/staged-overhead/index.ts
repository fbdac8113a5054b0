import { generator } from "@exitkit/core-gpu";
import { oneBatch } from "../../data/batches.ts";
import { slicePictures } from "../../data/pictures.ts";
import { onDevice } from "../../measuring/device.ts";
import { eachStep } from "../../measuring/steps.ts";
import type { TimingPlan } from "../../measuring/timing.ts";
import { pretrained } from "../../zoo/resnet.ts";
import { wideResnet16x4 } from "../../zoo/wide-resnet.ts";
import { type Context, experiment } from "../experiment.ts";
import { measure } from "./measure.ts";
import { measured, report, summary } from "./report.ts";
import { schema } from "./schema.ts";

const BATCHES = [1, 16, 64, 256];

/** Wall clock of staged execution against the plain session. */
export const stagedOverhead = experiment({
  name: "staged-overhead",
  title: "What staged execution costs and saves in wall-clock time",
  about:
    "Three backbones in three stages with cheap exits, against the same backbone in one plain session, interleaved: when " +
    "nothing leaves early, when half of the pictures leave at each exit, and when all leave at the first.",
  heading: "What staging costs",
  reads: ["cifar10"],
  presets: {
    quick: { budget: 3000, leastRounds: 5, mostRounds: 25 },
    full: { budget: 15_000, leastRounds: 11, mostRounds: 201 },
  },
  schema,
  run,
  summary,
  report,
  measured,
});

async function run(context: Context, plan: TimingPlan) {
  const { run: folder, seed } = context;
  const { test } = await context.data.cifar10();
  return onDevice(context, async (device) => {
    const backbones = [await pretrained("resnet20"), await pretrained("resnet56"), wideResnet16x4(seed)];
    const settings = backbones.flatMap((backbone) => BATCHES.map((size) => ({ backbone, size })));
    const keyOf = ({ backbone, size }: (typeof settings)[number]) => `${backbone.name}-batch${size}`;
    const rows = await eachStep(context, ["timing", "combinations"], settings, keyOf, async ({ backbone, size }) => {
      const batch = oneBatch(slicePictures(test, 0, size));
      const measured = await measure(device, backbone, batch, generator(seed), plan);
      for (const row of measured) await folder.metric({ ...row });
      return measured;
    });
    return { ranOn: device.kind, rows: rows.flat() };
  });
}
