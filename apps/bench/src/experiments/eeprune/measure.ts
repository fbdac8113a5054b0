import { type Device, generator, InputError } from "@exitkit/core-gpu";
import { countExitCosts, exitNetwork, heads, toExitModel } from "@exitkit/early-exit";
import type { MethodName } from "@exitkit/eeprune";
import { METHODS } from "@exitkit/eeprune";
import { type Dataset, dataOf } from "../../data/directory.ts";
import { type PictureShape, slicePictures } from "../../data/pictures.ts";
import { type Effort, withEffort } from "../../measuring/effort.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import type { Context } from "../experiment.ts";
import { brief, type Choices, choose } from "./choose.ts";
import { materialOf, networkFor, networkName, PLACES, type Place } from "./network.ts";
import { labelNoise } from "./noise.ts";
import type { EepruneRow, NoiseRow, StudyRow } from "./schema.ts";
import type { Settings } from "./settings.ts";
import { ringToy } from "./toy.ts";
import { type Budget, openTrainer, stepsPerEpoch, type Trained } from "./train.ts";

/** Ratio at which what was pruned is trained on, and at which the exit's head is a control. */
const HALF = 0.5;
/** Ratios of the paper's heat maps [S]. */
const MAP_RATIOS = [0.1, 0.6];
/** Shares of labels that are changed on purpose. */
const NOISE = [0.05, 0.1, 0.2];
/** Ratios at which the places of the exit are compared. */
const PLACE_RATIOS = [0.3, 0.6];

/** Choices with what they took; steps of older runs do not say it. */
type Made = Choices & { readonly effort?: Effort };

/** Everything that is measured, the most important first: what `--minutes` leaves no time for is left out and counted. */
export async function measure(context: Context, device: Device, settings: Settings, data: Dataset, minutes: number) {
  const { run: folder, progress } = context;
  const deadline = performance.now() + minutes * 60_000;
  const [train, test] = partsOf(data, settings);
  const material = materialOf(data, train, test);
  const classes = 1 + data.train.labels.reduce((most, label) => Math.max(most, label), 0);
  const backbone = networkFor(generator(context.seed), train.shape, classes);
  const macs = await macsOf(device, context.seed, train.shape, classes);
  const trainer = await openTrainer(device, backbone, settings, material);
  const perEpoch = stepsPerEpoch(train.n, settings);
  const seeds = seedsOf(context, settings.seeds);
  const firstOf = (seed: number) => networkFor(generator(1000 + seed), train.shape, classes).params;
  const rows: EepruneRow[] = [];
  const [complement, places, head]: StudyRow[][] = [[], [], []];
  const chosen = new Map<string, Made>();
  const all = Array.from({ length: train.n }, (_, i) => i);

  /** The choices of a brief run with the exit at a place; every run is made once. */
  const choicesAt = async (seed: number, place: Place): Promise<Made> => {
    const key = `choices-seed${seed}-${place}`;
    const known = chosen.get(key);
    if (known !== undefined) return known;
    const found = await folder.step(key, async () => {
      const { value: run, effort } = await withEffort(() =>
        brief(device, backbone, firstOf(seed), settings, material, place, seed),
      );
      const methods: readonly MethodName[] = place === "mid" ? settings.methods : ["eeprune"];
      const ratios = [...new Set([...settings.ratios, ...MAP_RATIOS, ...PLACE_RATIOS, HALF])];
      return { ...choose(run, methods, ratios, seed), effort };
    });
    chosen.set(key, found);
    return found;
  };
  const keptOf = ({ kept }: Choices, method: string, ratio: number) =>
    kept.find((one) => one.method === method && one.ratio === ratio)!;
  const epochsBudget = (pictures: number): Budget => ({
    epochs: settings.epochs,
    steps: settings.epochs * Math.floor(pictures / settings.batch),
  });
  const stepsBudget = (pictures: number, steps: number): Budget => ({
    epochs: Math.ceil(steps / Math.floor(pictures / settings.batch)),
    steps,
  });
  const add = async (row: Omit<EepruneRow, "dataset" | keyof Trained>, work: () => Promise<Trained>): Promise<void> => {
    const key = `row-seed${row.seed}-${row.method}-${row.ratio}-${row.budget}`;
    const trained = await folder.step(key, async () => {
      const { value, effort } = await withEffort(work);
      return { ...value, ...effort };
    });
    rows.push({ dataset: data.name, ...row, ...trained });
    await folder.metric({ ...rows.at(-1)! });
  };
  const study = async (
    list: StudyRow[],
    name: string,
    row: Omit<StudyRow, "accuracy">,
    work: () => Promise<Trained>,
  ) => {
    const key = `${name}-seed${row.seed}-${row.variant.replaceAll(" ", "-")}-${row.method}-${row.ratio}`;
    const { accuracy } = await folder.step(key, work);
    list.push({ ...row, accuracy });
    await folder.metric({ study: name, ...list.at(-1)! });
  };

  const cells: (() => Promise<void>)[] = [];
  for (const ratio of settings.ratios) {
    for (const seed of seeds) {
      const from = () => firstOf(seed);
      for (const method of settings.methods) {
        cells.push(async () => {
          const choices = await choicesAt(seed, "mid");
          const { ids } = keptOf(choices, method, ratio);
          const scoringCost = METHODS[method].needs.length === 0 ? 0 : choices.cost.samplesSeen;
          const row = { method, ratio, budget: "epochs", seed, scoringCost };
          await add(row, () => trainer.train(ids, epochsBudget(ids.length), seed, from()));
        });
      }
      cells.push(() =>
        add({ method: "whole", ratio, budget: "epochs", seed, scoringCost: 0 }, () => {
          const { steps } = epochsBudget(Math.round(train.n * (1 - ratio)));
          return trainer.train(all, stepsBudget(train.n, steps), seed, from());
        }),
      );
      if (ratio === settings.ratios[0]) {
        cells.push(() =>
          add({ method: "whole", ratio: 0, budget: "epochs", seed, scoringCost: 0 }, () =>
            trainer.train(all, epochsBudget(train.n), seed, from()),
          ),
        );
      }
    }
  }
  for (const ratio of settings.equalSteps.ratios) {
    for (const seed of seeds) {
      for (const method of settings.equalSteps.methods) {
        cells.push(async () => {
          const choices = await choicesAt(seed, "mid");
          const { ids } = keptOf(choices, method, ratio);
          const scoringCost = METHODS[method].needs.length === 0 ? 0 : choices.cost.samplesSeen;
          await add({ method, ratio, budget: "steps", seed, scoringCost }, () =>
            trainer.train(ids, stepsBudget(ids.length, settings.epochs * perEpoch), seed, firstOf(seed)),
          );
        });
      }
    }
  }
  if (settings.studies) {
    for (const seed of seeds) {
      cells.push(async () => {
        const { pruned } = keptOf(await choicesAt(seed, "mid"), "eeprune", HALF);
        await study(complement!, "complement", { seed, variant: "pruned", method: "eeprune", ratio: HALF }, () =>
          trainer.train(pruned, epochsBudget(pruned.length), seed, firstOf(seed)),
        );
      });
      for (const ratio of PLACE_RATIOS) {
        for (const place of Object.keys(PLACES) as Place[]) {
          cells.push(async () => {
            const { ids } = keptOf(await choicesAt(seed, place), "eeprune", ratio);
            await study(places!, "places", { seed, variant: place, method: "eeprune", ratio }, () =>
              trainer.train(ids, epochsBudget(ids.length), seed, firstOf(seed)),
            );
          });
        }
      }
      for (const method of ["random", "eeprune"] as const) {
        cells.push(async () => {
          const { ids } = keptOf(await choicesAt(seed, "mid"), method, HALF);
          await study(head!, "head", { seed, variant: "with head", method, ratio: HALF }, () =>
            trainer.trainWithHead(ids, epochsBudget(ids.length), seed, firstOf(seed)),
          );
        });
      }
    }
  }
  const noise: NoiseRow[] = [];
  if (settings.studies) {
    for (const share of NOISE) {
      for (const seed of seeds) {
        cells.push(async () => {
          noise.push(
            ...(await folder.step(`noise-seed${seed}-${share}`, () =>
              labelNoise(device, backbone, firstOf(seed), settings, material, share, seed),
            )),
          );
        });
      }
    }
  }
  const stage = progress.stage("trainings", cells.length, "trainings");
  let leftOut = 0;
  try {
    for (const run of cells) {
      if (performance.now() > deadline) leftOut++;
      else await run();
      stage.advance(1);
    }
  } finally {
    await trainer.release();
  }
  stage.done();
  const toy = await folder.step("toy", () => ringToy(device, context.seed));
  const sizes = new Array<number>(classes).fill(0);
  for (const label of train.labels) sizes[label]!++;
  const briefRows = [...chosen].map(([key, { cost, right, effort }]) => {
    const [, seed, place] = /^choices-seed(\d+)-(\w+)$/.exec(key)!;
    const { samplesSeen, samplesScored, seconds } = cost;
    const common = { seed: Number(seed), place: place!, ...right, samplesSeen, samplesScored, macs: cost.macs };
    return { ...common, trainingSeconds: seconds.training, scoringSeconds: seconds.scoring, ...effort };
  });
  const maps = [...chosen].flatMap(([key, { kept }]) => {
    const [, seed, place] = /^choices-seed(\d+)-(\w+)$/.exec(key)!;
    return kept
      .filter(({ ratio }) => MAP_RATIOS.includes(ratio))
      .map(({ method, ratio, pruned }) => {
        const counts = new Array<number>(classes).fill(0);
        for (const id of pruned) counts[train.labels[id]!]!++;
        return {
          seed: Number(seed),
          method: place === "mid" ? method : `${method}, exit ${place}`,
          ratio,
          pruned: counts,
        };
      });
  });
  return {
    data: dataOf({ ...data, train, test }),
    settings: {
      network: networkName(train.shape),
      epochs: settings.epochs,
      briefEpochs: settings.briefEpochs,
      batch: settings.batch,
      seeds: seeds.length,
      macs,
      leftOut,
    },
    rows,
    brief: briefRows,
    complement: complement!,
    places: places!,
    head: head!,
    noise,
    classSize: sizes,
    classes: maps,
    toy,
  };
}

function partsOf(data: Dataset, settings: Settings) {
  const wanted = settings.pictures ?? data.train.n;
  if (wanted > data.train.n) {
    const expectation = `--pictures must be at most the ${data.train.n} of ${data.name}`;
    throw new InputError("bench run", expectation, String(wanted), "Fetch all of them: bench data cifar10 --data DIR");
  }
  const tested = Math.min(settings.test ?? data.test.n, data.test.n);
  return [slicePictures(data.train, 0, wanted), slicePictures(data.test, 0, tested)] as const;
}

/** Multiply-accumulates of a picture through the network without an exit. */
async function macsOf(device: Device, seed: number, shape: PictureShape, classes: number): Promise<number> {
  const backbone = networkFor(generator(seed), shape, classes);
  const network = exitNetwork(backbone, [{ tap: PLACES.mid, head: heads.linear() }]);
  return (await countExitCosts(device, toExitModel(network, network.init(generator(seed))))).full;
}
