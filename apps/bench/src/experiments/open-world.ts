import { join } from "node:path";
import { openDevice, readSafetensorsFile } from "@exitkit/core-gpu";
import { slicePictures } from "../data/pictures.ts";
import type { Backbone } from "../zoo/backbone.ts";
import { pretrained, resnet, trainedWeights } from "../zoo/resnet.ts";
import { trainableResnet } from "../zoo/train-resnet.ts";
import { type Context, type Experiment, type ExperimentResult, whereThere } from "./experiment.ts";
import { classOrder, heldOut, knownOnly, type OnlineRow, onlineRows, reordered } from "./open-world/held-out.ts";
import { type AurocRow, averaged } from "./open-world/measures.ts";
import { type RejectionRow, rejecting } from "./open-world/rejecting.ts";
import type { Subject } from "./open-world/subject.ts";
import { unknownsOf } from "./open-world/unknowns.ts";
import { FULL_RECIPE } from "./train/recipe.ts";
import { trainNetwork } from "./train/train-network.ts";

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
  /** Whether a network that has never seen the held-out classes is trained too. */
  readonly unseen: boolean;
}

const SETTINGS: Readonly<Record<Context["preset"], Settings>> = {
  quick: { backbones: ["resnet20"], unknown: 500, heldOutPictures: 5000, seeds: 2, draws: 2, unseen: false },
  full: {
    backbones: ["resnet20", "resnet56"],
    unknown: 3500,
    heldOutPictures: 10_000,
    seeds: 5,
    draws: 5,
    unseen: true,
  },
};

/** Training of the network that has not seen the held-out classes. */
const UNSEEN = { pictures: 20_000, epochs: 8 } as const;

/** Pictures of no known class, and classes added later. */
export const openWorld: Experiment = {
  name: "open-world",
  title: "Pictures of no known class, and new classes from a few pictures",
  about:
    "AUROC of unknown against known pictures at every exit, beside the largest probability; what turning pictures away does to " +
    "cost and accuracy; classes left out of fitting, then added from 1 to 50 pictures. Unknown: CIFAR-100 where the data folder " +
    "has it, and held-out classes.",
  takes: ["seeds", "pictures", "epochs"],
  run,
};

async function run(context: Context): Promise<ExperimentResult> {
  const { progress, extras, seed, run: folder } = context;
  const settings = SETTINGS[context.preset];
  const data = await context.data.cifar10();
  const other = await whereThere("unknown pictures of CIFAR-100", context.data.cifar100, progress);
  const unknowns = other === null ? [] : unknownsOf(other, settings.unknown);
  const device = await openDevice(context.device);
  const [auroc, rejection, online]: [AurocRow[], RejectionRow[], OnlineRow[]] = [[], [], []];
  const weights = [];
  let unseenAccuracy: number | null = null;
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
    const fewer = { ...data, train: slicePictures(data.train, 0, Math.min(settings.heldOutPictures, data.train.n)) };
    const seen = { context, device, backbone: await pretrained("resnet20"), data: fewer };
    await holdOut(
      seen,
      "held out",
      Array.from({ length: extras.seeds ?? settings.seeds }, (_, index) => seed + index),
    );
    if (settings.unseen) {
      const trained = await unseenNetwork({ context, device, data });
      unseenAccuracy = trained.accuracy;
      await holdOut({ ...seen, backbone: trained.backbone }, "held out, unseen", [seed]);
    }
  } finally {
    await device.close();
  }
  for (const row of auroc) await folder.metric({ ...row });
  return {
    values: {
      ranOn: device.kind,
      data: { name: data.name, complete: data.complete, train: data.train.n, test: data.test.n, files: data.files },
      unknown: {
        name: other?.name ?? null,
        kinds: unknowns.map(({ kind, pictures }) => ({ kind, pictures: pictures.n })),
        files: other?.files ?? [],
      },
      weights,
      unseenAccuracy,
      rows: auroc,
      rejection,
      online,
    },
    summary: summary(auroc, rejection, online),
  };

  async function holdOut(subject: Subject, unknown: string, seeds: readonly number[]): Promise<void> {
    const parts: Awaited<ReturnType<typeof heldOut>>[] = [];
    for (const own of seeds) {
      const key = `${subject.backbone.name}-${unknown.replaceAll(/\W+/g, "-")}-seed${own}`;
      parts.push(await folder.step(key, () => heldOut(subject, { seed: own, unknown, draws: settings.draws })));
    }
    auroc.push(...averaged(parts.map((part) => part.auroc)));
    const label = { backbone: subject.backbone.name, unknown };
    online.push(
      ...onlineRows(
        label,
        parts.flatMap((part) => part.online),
      ),
    );
  }

  /** ResNet-20 trained here on eight classes only; two of its ten outputs are never asked for. */
  async function unseenNetwork(given: Omit<Subject, "backbone">): Promise<{ backbone: Backbone; accuracy: number }> {
    const order = classOrder(seed);
    const pictures = Math.min(extras.pictures ?? UNSEEN.pictures, given.data.train.n);
    const training = {
      device: given.device,
      network: trainableResnet(20),
      recipe: { ...FULL_RECIPE, epochs: extras.epochs ?? UNSEEN.epochs },
      seed,
      train: knownOnly(reordered(slicePictures(given.data.train, 0, pictures), order)),
      test: knownOnly(reordered(given.data.test, order)),
      run: folder,
      progress,
    };
    const { row } = await folder.step("unseen-training", () => trainNetwork(training));
    const { tensors } = await readSafetensorsFile(join(folder.path, `weights-seed${seed}.safetensors`));
    return { backbone: resnet(20, trainedWeights(tensors)), accuracy: row.testAccuracy };
  }
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
      "The pretrained networks have seen all ten classes: what is held out is held out of the class means only.",
      "Thresholds from one half of the test pictures, reported on the other, both ways.",
    ],
  };
}
