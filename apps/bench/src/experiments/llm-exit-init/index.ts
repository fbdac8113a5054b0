import { onDevice } from "../../measuring/device.ts";
import { type Context, experiment } from "../experiment.ts";
import { EPOCHS, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { claimsOf } from "./claims.ts";
import { type Measured, measureModel } from "./measure-model.ts";
import { measured, report, summary } from "./report.ts";
import { schema } from "./schema.ts";
import { FULL, type Plan, QUICK, type Settings } from "./settings.ts";
import { smollm2Subject, storiesSubject, talesSubject } from "./subject.ts";

/** Class-aware initialisation of early exits of language models, and what goes further. */
export const llmExitInit = experiment({
  name: "llm-exit-init",
  title: "Early exits of a language model that predict before they are trained",
  about:
    "One pass over text gives the exits of a decoder heads in closed form: the paper's class-aware one, its baselines and mixes, and " +
    "better ones; accuracy by exit, α and N₀, and training from every beginning, the decoder frozen or not.",
  heading: "Exits of a language model",
  takes: [SEEDS, EPOCHS],
  presets: { quick: QUICK, full: FULL },
  schema,
  run,
  summary,
  report,
  measured,
  check,
});

async function run(context: Context, settings: Settings) {
  return onDevice(context, async (device) => {
    const plan = withEpochs(settings.stories, context.extras.epochs);
    const found: Measured[] = [await measureModel(context, device, await storiesSubject(plan), plan)];
    if (settings.tales !== null) {
      const tales = { ...settings.tales, ...withEpochs(settings.tales, context.extras.epochs) };
      found.push(await measureModel(context, device, await talesSubject(context, device, tales), tales));
    }
    if (settings.smollm2 !== null) {
      const subject = await smollm2Subject(context.data.directory, settings.smollm2);
      if (subject !== null) found.push(await measureModel(context, device, subject, settings.smollm2));
      else context.progress.note("without SmolLM2: the data folder must have smollm2 (bench data smollm2) and text");
    }
    const rows = found.flatMap((one) => one.rows);
    const alphas = found.flatMap((one) => one.alphas);
    return {
      ranOn: device.kind,
      models: found.map(({ model }) => model),
      rows,
      alphas,
      noises: found.flatMap((one) => one.noises),
      rates: found.flatMap((one) => one.rates),
      shifts: found.flatMap((one) => one.shifts),
      speeds: found.flatMap((one) => one.speeds),
      stories: found.map(({ story }) => story),
      claims: claimsOf(rows, alphas),
    };
  });
}

function withEpochs(plan: Plan, epochs: number | undefined): Plan {
  return plan.training === null || epochs === undefined ? plan : { ...plan, training: { ...plan.training, epochs } };
}
