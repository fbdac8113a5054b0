import { InputError } from "@exitkit/core-gpu";
import { onDevice } from "../../measuring/device.ts";
import { type Context, experiment } from "../experiment.ts";
import { DATASETS, EPOCHS, MINUTES, PICTURES, REDUCED as REDUCED_OPTION, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { measure } from "./measure.ts";
import { keep, measured, report, summary } from "./report.ts";
import { schema } from "./schema.ts";
import { FULL, QUICK, REDUCED, type Settings } from "./settings.ts";

const NAMES = ["cifar10", "cifar100", "fashion-mnist"];

/** Which training pictures may go, by the early exit and by its rivals. */
export const eeprune = experiment({
  name: "eeprune",
  title: "Which training pictures may go: accuracy after training on the rest, against what was seen",
  about:
    "A compact network trained from scratch on what eeprune and its rivals keep, with equal epochs and with equal steps, beside all " +
    "pictures for fewer epochs; what was pruned against what was kept, places of the exit, the head as a control, classes, a toy.",
  heading: "Which training pictures may go",
  takes: [SEEDS, PICTURES, EPOCHS, DATASETS, REDUCED_OPTION, MINUTES],
  reads: ["cifar10", "cifar100", "fashionMnist"],
  presets: { quick: QUICK, full: FULL },
  schema,
  run,
  summary,
  report,
  measured,
  keep,
  check,
});

async function run(context: Context, preset: Settings) {
  const { extras } = context;
  const reduced = extras.reduced === true;
  const usual = reduced ? REDUCED : preset;
  const settings: Settings = {
    ...usual,
    pictures: extras.pictures ?? usual.pictures,
    epochs: extras.epochs ?? usual.epochs,
  };
  const [name = "cifar10", ...others] = extras.datasets ?? [];
  if (others.length > 0 || !NAMES.includes(name)) {
    const actual = [name, ...others].join(", ");
    throw new InputError(
      "bench run",
      "--datasets of eeprune must be one of cifar10, cifar100 and fashion-mnist",
      actual,
    );
  }
  const open = {
    cifar10: context.data.cifar10,
    cifar100: context.data.cifar100,
    "fashion-mnist": context.data.fashionMnist,
  };
  const data = await open[name as keyof typeof open]();
  const minutes = typeof extras.minutes === "number" ? extras.minutes : Number.POSITIVE_INFINITY;
  return onDevice(context, async (device) => {
    const { settings: made, ...measured } = await measure(context, device, settings, data, minutes);
    return { ranOn: device.kind, ...measured, settings: { ...made, reduced } };
  });
}
