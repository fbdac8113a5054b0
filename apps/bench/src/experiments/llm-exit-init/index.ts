import { type Device, layers } from "@exitkit/core-gpu";
import { accumulateDecoder, statisticsBytes } from "@exitkit/llm-exit-init";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { type Context, experiment } from "../experiment.ts";
import { EPOCHS, SEEDS } from "../options.ts";
import { check } from "./check.ts";
import { claimsOf } from "./claims.ts";
import * as zero from "./epoch-zero.ts";
import { measured, report, summary } from "./report.ts";
import {
  type AlphaRow,
  type LlmModel,
  type LlmRow,
  type NoiseRow,
  type SpeedRow,
  type Story,
  schema,
} from "./schema.ts";
import { FULL, type Plan, QUICK, type Settings } from "./settings.ts";
import { measureSpeed } from "./speed.ts";
import { colourStory } from "./story.ts";
import { type Subject, smollm2Subject, storiesSubject } from "./subject.ts";
import { trainHeads } from "./training.ts";

/** Class-aware initialisation of early exits of language models, and what goes further. */
export const llmExitInit = experiment({
  name: "llm-exit-init",
  title: "Early exits of a language model that predict before they are trained",
  about:
    "One pass over text gives the exits of a decoder heads in closed form: the paper's class-aware one, its baselines and mixes, and " +
    "better ones; accuracy by exit, α and N₀, and training from every beginning, the decoder frozen or not.",
  heading: "Exits of a language model",
  takes: [SEEDS, EPOCHS],
  reads: [],
  presets: { quick: QUICK, full: FULL },
  schema,
  run,
  summary,
  report,
  measured,
  check,
});

interface Found {
  readonly model: LlmModel;
  readonly rows: readonly LlmRow[];
  readonly alphas: readonly AlphaRow[];
  readonly noises: readonly NoiseRow[];
  readonly speeds: readonly SpeedRow[];
  readonly story: Story;
}

async function run(context: Context, settings: Settings) {
  return onDevice(context, async (device) => {
    const plan = withEpochs(settings.stories, context.extras.epochs);
    const found: Found[] = [await measureModel(context, device, await storiesSubject(plan), plan)];
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
      speeds: found.flatMap((one) => one.speeds),
      story: found[0]!.story,
      claims: claimsOf(rows, alphas),
    };
  });
}

function withEpochs(plan: Plan, epochs: number | undefined): Plan {
  return plan.training === null || epochs === undefined ? plan : { ...plan, training: { ...plan.training, epochs } };
}

async function measureModel(context: Context, device: Device, subject: Subject, plan: Plan): Promise<Found> {
  const { run: folder, progress, seed } = context;
  const { decoder, name } = subject;
  const statistics = await folder.step(`${name}-statistics`, async () => {
    const stage = progress.stage(`${name}: statistics`, subject.fit.tokens.length / plan.window, "windows");
    let done = 0;
    const found = await accumulateDecoder(device, decoder, subject.fit, {
      exits: plan.layers.flatMap((layer) => [
        { tap: zero.tapOf(layer) },
        { tap: zero.tapOf(layer), norm: "final" as const },
      ]),
      ...zero.bordered(subject.border),
      onProgress: (windows) => {
        stage.advance(windows - done);
        done = windows;
      },
    });
    stage.done();
    return found;
  });
  const calibration = await zero.statesOf(device, subject, subject.calibration, plan);
  const test = await zero.statesOf(device, subject, subject.test, plan);
  const rows: LlmRow[] = [];
  const alphas: AlphaRow[] = [];
  const noises: NoiseRow[] = [];
  const exits: { layer: number; first: zero.FirstHeads }[] = [];
  let crossEntropy = Number.NaN;
  const stage = progress.stage(`${name}: heads`, plan.layers.length, "exits");
  for (const [index, layer] of plan.layers.entries()) {
    const [raw, normed] = [statistics[2 * index]!, statistics[2 * index + 1]!];
    const random = zero.randomOf(seed, layer);
    const first = await zero.firstHeads(device, subject, raw, normed, zero.at(calibration, layer), random);
    const judged = await folder.step(`${name}-block${layer}`, async () => ({
      ...(await zero.judgeFirst(device, subject, layer, first, test)),
      noises: await zero.sweepNoise(device, subject, plan, layer, raw, test),
      alphas: layer === plan.layer ? await zero.sweepAlpha(device, subject, plan, first, test) : [],
    }));
    rows.push(...judged.rows);
    alphas.push(...judged.alphas);
    noises.push(...judged.noises);
    crossEntropy = judged.crossEntropy;
    exits.push({ layer, first });
    for (const row of judged.rows) await folder.metric({ ...row });
    stage.advance(1);
  }
  stage.done();
  const closed = exits.map(({ layer, first }) => ({ layer, head: first.best }));
  const story = await colourStory(device, subject, closed);
  const timing = { budget: context.preset === "quick" ? 3000 : 30_000, leastRounds: 3, mostRounds: 31 };
  const speeds = await folder.step(`${name}-speed`, () => measureSpeed(device, subject, plan, timing));
  const chosen = exits.find(({ layer }) => layer === plan.layer)!.first;
  for (const setting of plan.training?.settings ?? []) {
    for (const one of seedsOf(context, plan.training!.seeds[setting])) {
      rows.push(...(await trainHeads(context, device, subject, plan, setting, chosen, one)));
    }
  }
  const { config } = decoder;
  const [raw] = statistics;
  const model: LlmModel = {
    ...{
      name,
      layers: config.layers,
      width: config.width,
      vocabulary: config.vocabulary,
      text: subject.text,
      crossEntropy,
    },
    parameters: layers.countParameters(decoder.params),
    fit: subject.fit.tokens.length,
    calibration: subject.calibration.tokens.length,
    test: subject.test.tokens.length,
    training: subject.training?.tokens.length ?? 0,
    unseen: raw!.counts.reduce((unseen, count) => unseen + (count === 0 ? 1 : 0), 0),
    statisticsBytes: statisticsBytes(config.vocabulary, config.width),
    accuracy: rows[0]!.full,
  };
  return { model, rows, alphas, noises, speeds, story };
}
