import { dataOf } from "../../data/directory.ts";
import { onDevice } from "../../measuring/device.ts";
import { pretrained } from "../../zoo/resnet.ts";
import { type Context, experiment, type Preset } from "../experiment.ts";
import { check } from "./check.ts";
import { measure } from "./measure/measure.ts";
import type { Settings } from "./measure/subject.ts";
import { keep, measured, readme, summary } from "./measured.ts";
import { report } from "./report.ts";
import { schema } from "./schema.ts";

/** Early exit by class means on pretrained CIFAR-10 networks. */
export const e2cmCifar10 = experiment({
  name: "e2cm-cifar10",
  title: "Early exit by class means on ResNet-20 and ResNet-56, CIFAR-10",
  about:
    "What exits by class means save and lose on new pictures, in MACs and in time, and how often what was promised fails; " +
    "accuracy by depth, all distance rules, pooled and quantised variants. One pass over the training pictures, no gradient.",
  heading: "E²CM on CIFAR-10",
  reads: ["cifar10"],
  presets: {
    quick: {
      backbones: ["resnet56"],
      thresholdPictures: 1000,
      everyBlock: 3,
      pooled: false,
      draws: 200,
      halvings: 50,
      timedLoss: 0.01,
      rounds: 2,
      timedPictures: 256,
      fitPasses: 0,
      overheadBudget: 0,
    },
    full: {
      backbones: ["resnet20", "resnet56"],
      thresholdPictures: 5000,
      everyBlock: 1,
      pooled: true,
      draws: 2000,
      halvings: 200,
      timedLoss: 0.005,
      rounds: 5,
      timedPictures: 2048,
      fitPasses: 8,
      overheadBudget: 20_000,
    },
  } as Readonly<Record<Preset, Settings>>,
  schema,
  run,
  summary,
  report,
  measured,
  readme,
  keep,
  check,
});

async function run(context: Context, settings: Settings) {
  const data = await context.data.cifar10();
  return onDevice(context, async (device) => {
    const parts: Awaited<ReturnType<typeof measure>>[] = [];
    for (const name of settings.backbones) {
      const everyBlock = name === "resnet20" ? 1 : settings.everyBlock;
      const subject = {
        context,
        device,
        backbone: await pretrained(name),
        data,
        settings: { ...settings, everyBlock },
      };
      parts.push(await measure({ ...subject, key: (step) => `${name}-${step}` }));
    }
    const main = parts.at(-1)!;
    return {
      ranOn: device.kind,
      data: dataOf(data),
      weights: parts.map((part) => part.weights),
      classNames: data.classNames,
      backbones: parts.map(({ plain }) => plain),
      perExit: parts.flatMap(({ perExit }) => perExit),
      confusion: parts.flatMap(({ confusion }) => confusion),
      exitNames: main.exitNames,
      halvings: parts.flatMap(({ halvings }) => halvings),
      fit: parts.flatMap(({ fit }) => fit),
      overhead: parts.flatMap(({ overhead }) => overhead),
      rows: parts.flatMap(({ rows }) => rows),
      wall: parts.flatMap(({ wall }) => wall),
      examples: main.examples,
    };
  });
}
