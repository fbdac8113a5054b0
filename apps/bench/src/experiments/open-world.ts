import { join } from "node:path";
import { InputError, openDevice, readSafetensorsFile } from "@exitkit/core-gpu";
import type { Dataset } from "../data/directory.ts";
import { type Pictures, slicePictures } from "../data/pictures.ts";
import { whereThere } from "../data/source.ts";
import { openWorldSchema } from "../report/open-world-types.ts";
import { FULL_RECIPE } from "../training/recipe.ts";
import { trainNetwork } from "../training/train-network.ts";
import type { Backbone } from "../zoo/backbone.ts";
import { pretrained, resnet, trainedWeights } from "../zoo/resnet.ts";
import { trainableResnet } from "../zoo/train-resnet.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";
import {
  classOrder,
  heldOut,
  heldOutNames,
  knownOnly,
  LEAST_OF_A_CLASS,
  type OnlineRow,
  onlineRows,
  reordered,
} from "./open-world/held-out.ts";
import { type AurocRow, averaged } from "./open-world/measures.ts";
import { QUANTILE, type RejectionRow, rejecting, WANTED_LOSS } from "./open-world/rejecting.ts";
import type { Subject } from "./open-world/subject.ts";
import { unknownsOf } from "./open-world/unknowns.ts";
import { PICTURES, SEEDS } from "./options.ts";

interface Settings {
  readonly backbones: readonly ("resnet20" | "resnet56")[];
  /** Unknown pictures of each kind, at most. */
  readonly unknown: number;
  /** Training pictures that the means of eight classes are made of, at most. */
  readonly heldOutPictures: number;
  /** Choices of held-out classes. */
  readonly seeds: number;
  /** Draws of every number of samples of a new class. */
  readonly draws: number;
  /** Networks trained here that have never seen the held-out classes, each with two of its own; null: none. */
  readonly unseen: UnseenSettings | null;
}

interface UnseenSettings {
  readonly seeds: number;
  /** Training pictures, at most, those of the held-out classes included. */
  readonly pictures: number;
  readonly epochs: number;
}

const SETTINGS: Readonly<Record<Context["preset"], Settings>> = {
  quick: { backbones: ["resnet20"], unknown: 500, heldOutPictures: 5000, seeds: 2, draws: 2, unseen: null },
  full: {
    backbones: ["resnet20", "resnet56"],
    unknown: 3500,
    heldOutPictures: 10_000,
    seeds: 5,
    draws: 5,
    unseen: { seeds: 3, pictures: 20_000, epochs: 8 },
  },
};

/** Pictures of no known class, and classes added later. */
export const openWorld = legacy(
  {
    name: "open-world",
    heading: "The open world",
    title: "Pictures of no known class, and new classes from a few pictures",
    about:
      "AUROC of unknown against known pictures at every exit, beside the largest probability; what turning pictures away does to " +
      "cost and accuracy; classes left out of fitting, then added from 1 to 50 pictures. Unknown: CIFAR-100 where the data folder " +
      "has it, and held-out classes.",
    takes: [SEEDS, PICTURES],
    reads: ["cifar10", "cifar100"],
    run,
  },
  openWorldSchema,
);

async function run(context: Context): Promise<ExperimentResult> {
  const { progress, extras, run: folder } = context;
  const data = limited(await context.data.cifar10(), extras.pictures);
  const settings = settingsOf(context, data.train.n);
  const other = await whereThere("unknown pictures of CIFAR-100", context.data.cifar100, progress);
  const unknowns = other === null ? [] : unknownsOf(other, settings.unknown);
  const seedsOf = (count: number) => Array.from({ length: count }, (_, index) => context.seed + index);
  const classesOf = (seed: number) => heldOutNames(classOrder(seed), data.classNames);
  const device = await openDevice(context.device);
  const [auroc, rejection, online]: [AurocRow[], RejectionRow[], OnlineRow[]] = [[], [], []];
  const weights = [];
  const unseen: { seed: number; classes: readonly string[]; accuracy: number }[] = [];
  const fewer = limited(data, settings.heldOutPictures);
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    for (const name of settings.backbones) {
      const backbone = await pretrained(name);
      weights.push(backbone.weights);
      if (unknowns.length === 0) continue;
      const measured = await rejecting({ context, device, backbone, data }, unknowns);
      auroc.push(...measured.auroc);
      rejection.push(...measured.rejection);
    }
    const seen = { context, device, backbone: await pretrained("resnet20"), data: fewer };
    await holdOut(
      "held out",
      seedsOf(settings.seeds).map((seed) => ({ seed, subject: seen })),
    );
    if (settings.unseen !== null) {
      const repetitions: Repetition[] = [];
      for (const seed of seedsOf(settings.unseen.seeds)) {
        const { backbone, accuracy } = await unseenNetwork({ context, device, data }, seed, settings.unseen);
        unseen.push({ seed, classes: classesOf(seed), accuracy });
        repetitions.push({ seed, subject: { ...seen, backbone } });
      }
      await holdOut("held out, unseen", repetitions);
    }
  } finally {
    await device.close();
  }
  for (const row of auroc) await folder.metric({ ...row });
  const { complete, train, test } = data;
  return {
    values: {
      ranOn: device.kind,
      data: { name: data.name, complete, train: train.n, test: test.n, files: data.files },
      unknown: {
        name: other?.name ?? null,
        kinds: unknowns.map(({ kind, pictures }) => ({ kind, pictures: pictures.n })),
        files: other?.files ?? [],
      },
      weights,
      settings: {
        heldOutPictures: settings.heldOutPictures,
        seeds: settings.seeds,
        draws: settings.draws,
        quantile: QUANTILE,
        wantedLoss: WANTED_LOSS,
        unseen: settings.unseen,
      },
      heldOut: seedsOf(settings.seeds).map((seed) => ({ seed, classes: classesOf(seed) })),
      unseen,
      rows: auroc,
      rejection,
      online,
    },
    summary: summary(auroc, rejection, online),
  };

  async function holdOut(unknown: string, repetitions: readonly Repetition[]): Promise<void> {
    const parts: Awaited<ReturnType<typeof heldOut>>[] = [];
    for (const { seed, subject } of repetitions) {
      const key = `${subject.backbone.name}-${unknown.replaceAll(/\W+/g, "-")}-seed${seed}`;
      parts.push(await folder.step(key, () => heldOut(subject, { seed, unknown, draws: settings.draws })));
    }
    auroc.push(...averaged(parts.map((part) => part.auroc)));
    const label = { backbone: repetitions[0]!.subject.backbone.name, unknown };
    online.push(
      ...onlineRows(
        label,
        parts.flatMap((part) => part.online),
      ),
    );
  }
}

/** Two held-out classes and the network that they are held out of. */
interface Repetition {
  readonly seed: number;
  readonly subject: Subject;
}

/** The preset's settings within what was asked for and the training pictures that are there. */
function settingsOf({ preset, extras }: Context, available: number): Settings {
  const settings = SETTINGS[preset];
  const { heldOutPictures, unseen } = settings;
  const { seeds = settings.seeds } = extras;
  return {
    ...settings,
    seeds,
    heldOutPictures: Math.min(heldOutPictures, available),
    unseen: unseen && {
      ...unseen,
      seeds: Math.min(unseen.seeds, seeds),
      pictures: Math.min(unseen.pictures, available),
    },
  };
}

/** A data set with only the first of its training pictures. */
function limited(data: Dataset, pictures = data.train.n): Dataset {
  if (pictures >= data.train.n) return data;
  const train = slicePictures(data.train, 0, pictures);
  const least = Math.min(...data.classNames.map((_, label) => countOf(train, label)));
  if (least >= LEAST_OF_A_CLASS) return { ...data, complete: false, train };
  const expectation = `--pictures must leave at least ${LEAST_OF_A_CLASS} training pictures of every class`;
  throw new InputError("bench run", expectation, `${pictures} pictures, ${least} of one class`);
}

function countOf({ labels }: Pictures, label: number): number {
  return labels.reduce((sum, own) => sum + (own === label ? 1 : 0), 0);
}

/** ResNet-20 trained here on eight classes only; two of its ten outputs are never asked for. */
async function unseenNetwork(
  { context, device, data }: Omit<Subject, "backbone">,
  seed: number,
  { pictures, epochs }: UnseenSettings,
): Promise<{ readonly backbone: Backbone; readonly accuracy: number }> {
  const { run: folder, progress } = context;
  const order = classOrder(seed);
  const name = `unseen-seed${seed}`;
  const training = {
    device,
    network: trainableResnet(20),
    recipe: { ...FULL_RECIPE, epochs },
    seed,
    train: knownOnly(reordered(limited(data, pictures).train, order)),
    test: knownOnly(reordered(data.test, order)),
    name,
    run: folder,
    progress,
  };
  const { row } = await folder.step(`${name}-training`, () => trainNetwork(training));
  const { tensors } = await readSafetensorsFile(join(folder.path, `weights-${name}.safetensors`));
  return { backbone: resnet(20, trainedWeights(tensors)), accuracy: row.testAccuracy };
}

function summary(auroc: readonly AurocRow[], rejection: readonly RejectionRow[], online: readonly OnlineRow[]) {
  const percent = (value: number) => `${(100 * value).toFixed(1)} %`;
  const over = (row: AurocRow, name: string) =>
    auroc.find((one) => one.score === name && one.exit === row.exit && same(one, row))!.auroc.toFixed(3);
  const same = (a: AurocRow, b: AurocRow) =>
    a.backbone === b.backbone && a.unknown === b.unknown && a.metric === b.metric;
  return {
    head: ["network", "what", "setting", "MACs", "result"],
    rows: [
      ...auroc
        .filter(({ score }) => score === "novelty")
        .map((row) => [
          row.backbone,
          `AUROC, ${row.unknown}`,
          row.metric,
          `${row.macsFraction.toFixed(3)} ×`,
          `novelty ${over(row, "novelty")}, largest probability ${over(row, "maxProbability")}`,
        ]),
      ...rejection.map((row) => [
        row.backbone,
        row.by === null ? "without rejection" : `rejection: ${row.at}, by ${row.by}`,
        row.metric,
        `${row.macsFraction.toFixed(3)} ×`,
        `right ${percent(row.accuracy)}, falsely rejected ${percent(row.falseRejections)}; unknown rejected ${row.unknown
          .map(({ kind, rejected }) => `${percent(rejected)} (${kind})`)
          .join(", ")}`,
      ]),
      ...online
        .filter(({ exit, predictFrom }) => exit === "full network" && predictFrom === "normalised")
        .map((row) => [
          row.backbone,
          `new classes, ${row.unknown}`,
          row.samples === null ? "all pictures" : `${row.samples} a class`,
          `${row.macsFraction.toFixed(3)} ×`,
          `new ${percent(row.fresh.mean)}, old ${percent(row.old.mean)} (before ${percent(row.before.mean)})`,
        ]),
    ],
    notes: [
      "The pretrained networks have seen all ten classes: what is held out is held out of the class means only. What is unseen is not.",
      "Thresholds that lose at most two points against the plain network on one half of the test pictures, the same with and without " +
        "rejection, reported on the other half, both ways.",
    ],
  };
}
