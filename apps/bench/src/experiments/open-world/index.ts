import { join } from "node:path";
import { InputError, readSafetensorsFile } from "@exitkit/core-gpu";
import { type Dataset, dataOf, limited } from "../../data/directory.ts";
import type { Pictures } from "../../data/pictures.ts";
import { whereThere } from "../../data/source.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { FULL_RECIPE } from "../../training/recipe.ts";
import { trainNetwork } from "../../training/train-network.ts";
import type { Backbone } from "../../zoo/backbone.ts";
import { pretrained, resnet, trainedWeights } from "../../zoo/resnet.ts";
import { trainableResnet } from "../../zoo/train-resnet.ts";
import { type Context, experiment } from "../experiment.ts";
import { PICTURES, SEEDS } from "../options.ts";
import { classOrder, heldOut, heldOutNames, knownOnly, LEAST_OF_A_CLASS, onlineRows, reordered } from "./held-out.ts";
import { averaged } from "./measures.ts";
import { QUANTILE, rejecting, WANTED_LOSS } from "./rejecting.ts";
import { measured, report, summary } from "./report.ts";
import { type AurocRow, type OnlineRow, type OpenWorldResult, type RejectionRow, schema } from "./schema.ts";
import type { Subject } from "./subject.ts";
import { unknownsOf } from "./unknowns.ts";

interface Settings
  extends Pick<NonNullable<OpenWorldResult["settings"]>, "heldOutPictures" | "seeds" | "draws" | "unseen"> {
  readonly backbones: readonly ("resnet20" | "resnet56")[];
  /** Unknown pictures of each kind, at most. */
  readonly unknown: number;
}

/** Pictures of no known class, and classes added later. */
export const openWorld = experiment({
  name: "open-world",
  title: "Pictures of no known class, and new classes from a few pictures",
  about:
    "AUROC of unknown against known pictures at every exit, beside the largest probability; what turning pictures away does to " +
    "cost and accuracy; classes left out of fitting, then added from 1 to 50 pictures. Unknown: CIFAR-100 where the data folder " +
    "has it, and held-out classes.",
  heading: "The open world",
  takes: [SEEDS, PICTURES],
  reads: ["cifar10", "cifar100"],
  presets: {
    quick: { backbones: ["resnet20"], unknown: 500, heldOutPictures: 5000, seeds: 2, draws: 2, unseen: null },
    full: {
      backbones: ["resnet20", "resnet56"],
      unknown: 3500,
      heldOutPictures: 10_000,
      seeds: 5,
      draws: 5,
      unseen: { seeds: 3, pictures: 20_000, epochs: 8 },
    },
  } as Readonly<Record<Context["preset"], Settings>>,
  schema,
  run,
  summary,
  report,
  measured,
});

async function run(context: Context, preset: Settings) {
  const { progress, extras, run: folder } = context;
  const data = withEveryClass(await context.data.cifar10(), extras.pictures);
  const settings = settingsOf(context, preset, data.train.n);
  const other = await whereThere("unknown pictures of CIFAR-100", context.data.cifar100, progress);
  const unknowns = other === null ? [] : unknownsOf(other, settings.unknown);
  const seeds = seedsOf(context, settings.seeds);
  const classesOf = (seed: number) => heldOutNames(classOrder(seed), data.classNames);
  const fewer = withEveryClass(data, settings.heldOutPictures);
  return onDevice(context, async (device) => {
    const [auroc, rejection, online]: [AurocRow[], RejectionRow[], OnlineRow[]] = [[], [], []];
    const weights: OpenWorldResult["weights"][number][] = [];
    const unseen: OpenWorldResult["unseen"][number][] = [];
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
      seeds.map((seed) => ({ seed, subject: seen })),
    );
    if (settings.unseen !== null) {
      const repetitions: Repetition[] = [];
      for (const seed of seeds.slice(0, settings.unseen.seeds)) {
        const { backbone, accuracy } = await unseenNetwork({ context, device, data }, seed, settings.unseen);
        unseen.push({ seed, classes: classesOf(seed), accuracy });
        repetitions.push({ seed, subject: { ...seen, backbone } });
      }
      await holdOut("held out, unseen", repetitions);
    }
    for (const row of auroc) await folder.metric({ ...row });
    const { backbones: _, unknown: __, ...kept } = settings;
    return {
      ranOn: device.kind,
      data: dataOf(data),
      unknown: {
        name: other?.name ?? null,
        kinds: unknowns.map(({ kind, pictures }) => ({ kind, pictures: pictures.n })),
        files: other?.files ?? [],
      },
      weights,
      settings: { ...kept, quantile: QUANTILE, wantedLoss: WANTED_LOSS },
      heldOut: seeds.map((seed) => ({ seed, classes: classesOf(seed) })),
      unseen,
      rows: auroc,
      rejection,
      online,
    };

    async function holdOut(unknown: string, repetitions: readonly Repetition[]): Promise<void> {
      const parts: Awaited<ReturnType<typeof heldOut>>[] = [];
      for (const { seed, subject } of repetitions) {
        const key = `${subject.backbone.name}-${unknown.replaceAll(/\W+/g, "-")}-seed${seed}`;
        parts.push(await folder.step(key, () => heldOut(subject, { seed, unknown, draws: settings.draws })));
      }
      auroc.push(...averaged(parts.map((part) => part.auroc)));
      const label = { backbone: repetitions[0]!.subject.backbone.name, unknown };
      const measures = parts.flatMap((part) => part.online);
      online.push(...onlineRows(label, measures));
    }
  });
}

/** Two held-out classes and the network that they are held out of. */
interface Repetition {
  readonly seed: number;
  readonly subject: Subject;
}

/** A preset's settings within what was asked for and the training pictures that are there. */
function settingsOf({ extras }: Context, settings: Settings, available: number): Settings {
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

/** A data set with only the first of its training pictures, if they are enough of every class. */
function withEveryClass(data: Dataset, pictures = data.train.n): Dataset {
  if (pictures >= data.train.n) return data;
  const fewer = limited(data, { train: pictures });
  const least = Math.min(...data.classNames.map((_, label) => countOf(fewer.train, label)));
  if (least >= LEAST_OF_A_CLASS) return fewer;
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
  { pictures, epochs }: NonNullable<Settings["unseen"]>,
): Promise<{ readonly backbone: Backbone; readonly accuracy: number }> {
  const { run: folder, progress } = context;
  const order = classOrder(seed);
  const name = `unseen-seed${seed}`;
  const network = trainableResnet(20);
  const recipe = { ...FULL_RECIPE, epochs };
  const [train, test] = [withEveryClass(data, pictures).train, data.test].map((all) =>
    knownOnly(reordered(all, order)),
  );
  const training = { device, network, recipe, seed, train: train!, test: test!, name, run: folder, progress };
  const { row } = await folder.step(`${name}-training`, () => trainNetwork(training));
  const { tensors } = await readSafetensorsFile(join(folder.path, `weights-${name}.safetensors`));
  return { backbone: resnet(20, trainedWeights(tensors)), accuracy: row.testAccuracy };
}
