import { openDevice } from "@exitkit/core-gpu";
import { accuracyAt as accuracyOfExit } from "../measuring/answers.ts";
import { spread } from "../measuring/spread.ts";
import { rivalsSchema } from "../report/rivals-types.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";
import { DATASETS, EPOCHS, PICTURES, SEEDS } from "./options.ts";

import type { Candidate, Divergence, Method } from "./rivals/candidate.ts";
import { accuraciesAt, claimsOf } from "./rivals/claims.ts";
import { chosenDatasets, type RivalDataset } from "./rivals/datasets.ts";
import { classMeansCandidate, distanceMeans, gatedCandidate, trainedCandidates } from "./rivals/fit.ts";
import { bothWays, frontierRows, type RivalRow, type WithinRow, withinRows } from "./rivals/frontiers.ts";
import { peakMemory } from "./rivals/memory.ts";
import { FIGURE, POSTER, POSTER_FRACTIONS } from "./rivals/paper.ts";
import { prepare, type Subject } from "./rivals/prepare.ts";
import { type RivalSettings, SETTINGS } from "./rivals/settings.ts";
import { type RivalWall, TIMED_FRACTION, TIMED_LOSS, timeRival } from "./rivals/wall.ts";

/** E²CM beside exits that are trained. */
export const e2cmRivals = legacy(
  {
    name: "e2cm-rivals",
    heading: "E²CM against trained exits",
    title: "E²CM against trained exits: one epoch, and many",
    about:
      "One forward pass of class means against one epoch of Shallow-Deep Networks and of BranchyNet on the same network, then " +
      "Shallow-Deep exits with and without class distances over several epochs: accuracy against MACs, wall clock at batch 64, " +
      "training time and peak memory. --datasets cifar10,cifar100,fashion-mnist,kmnist,mnist chooses.",
    takes: [SEEDS, PICTURES, EPOCHS, DATASETS],
    run: (context) => rivals(context, SETTINGS[context.preset]),
  },
  rivalsSchema,
);

/** What one method took to fit. */
interface TrainingRow {
  readonly dataset: RivalDataset;
  readonly method: Method;
  readonly budget: Candidate["budget"];
  readonly seed: number | null;
  readonly epochs: number;
  readonly seconds: number | null;
}

/** How right one exit is about all test pictures, the network's own answer last. */
interface ExitRow {
  readonly dataset: RivalDataset;
  readonly method: Method;
  readonly budget: Candidate["budget"];
  readonly seed: number | null;
  /** From 0. */
  readonly exit: number;
  /** Of a picture that leaves there. */
  readonly macsFraction: number;
  readonly accuracy: number;
}

/** Peak memory of fitting one method. */
interface MemoryRow {
  readonly dataset: RivalDataset;
  readonly method: Method | "plain";
  readonly bytes: number;
}

/** The comparison with settings of one's own. */
export async function rivals(context: Context, usual: RivalSettings): Promise<ExperimentResult> {
  const { extras, progress } = context;
  const settings = { ...usual, epochs: extras.epochs ?? usual.epochs };
  const datasets = await chosenDatasets(context);
  const device = await openDevice(context.device);
  const parts: Awaited<ReturnType<typeof compare>>[] = [];
  try {
    for (const { kind, reason } of device.passedOver) progress.note(`not on ${kind}: ${reason}`);
    for (const dataset of datasets) {
      parts.push(await compare(context, await prepare(context, device, dataset, settings), settings));
    }
  } finally {
    await device.close();
  }
  const rows = parts.flatMap((part) => part.rows);
  const within = parts.flatMap((part) => part.within);
  const diverged = parts.flatMap((part) => part.diverged);
  const plain = new Map(parts.map(({ about }) => [about.dataset, about.accuracy]));
  return {
    values: {
      ranOn: device.kind,
      datasets: parts.map(({ about }) => about),
      settings: {
        epochs: settings.epochs,
        batch: settings.batch,
        seeds: extras.seeds ?? 1,
        timedLoss: TIMED_LOSS,
        timedFraction: TIMED_FRACTION,
      },
      rows,
      within,
      perExit: parts.flatMap((part) => part.perExit),
      training: parts.flatMap((part) => part.training),
      diverged,
      memory: parts.flatMap((part) => part.memory),
      wall: parts.flatMap((part) => part.wall),
      poster: { fractions: POSTER_FRACTIONS, paper: POSTER },
      figure: FIGURE,
      claims: claimsOf({ rows, plain, diverged }),
    },
    summary: summary(parts),
  };
}

/** All methods on one data set. */
async function compare(context: Context, subject: Subject, settings: RivalSettings) {
  const { run: folder, seed, extras, progress } = context;
  const { dataset, material, test, trained } = subject;
  const { name, data } = dataset;
  const seeds = Array.from({ length: extras.seeds ?? 1 }, (_, index) => seed + index);
  const e2cm = await classMeansCandidate(context, subject, "e2cm");
  const places = await classMeansCandidate(context, subject, "e2cm-places");
  const euclidean = await classMeansCandidate(context, subject, "e2cm-euclidean");
  const candidates = [e2cm.candidate, places.candidate, euclidean.candidate];
  const diverged: ({ readonly dataset: RivalDataset } & Divergence)[] = [];
  const means = { "e2cm-sdn": await distanceMeans(context, subject), "e2cm-sdn-shared": places.means };
  for (const own of seeds) {
    const oneEpoch = { budget: "one epoch", epochs: 1, seed: own } as const;
    const many = { budget: "unlimited", epochs: settings.epochs, seed: own, means } as const;
    const made = [
      ...(await trainedCandidates(context, subject, ["sdn"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["sdn-joint"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["branchynet"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["sdn", "e2cm-sdn", "e2cm-sdn-shared"], many)),
    ];
    for (const one of made) {
      if (!("candidate" in one)) {
        diverged.push({ dataset: name, ...one });
        continue;
      }
      candidates.push(one.candidate);
      if (one.candidate.method === "sdn") candidates.push(await gatedCandidate(context, subject, one));
    }
  }
  const plain = candidates[0]!.record;
  const searched = candidates.map((candidate) => ({ candidate, ways: bothWays(candidate) }));
  const wall: RivalWall[] = [];
  // Of every method the first seed that did not diverge.
  const timed = searched.filter(
    ({ candidate }, index) =>
      candidates.findIndex(({ method, budget }) => method === candidate.method && budget === candidate.budget) ===
      index,
  );
  const stage = progress.stage(`${name}: wall clock`, timed.length, "methods");
  for (const { candidate, ways } of timed) {
    const { method, budget } = candidate;
    const key = `${name}-${method}-${budget === "unlimited" ? `epochs${candidate.epochs}-` : ""}wall`;
    const own = await folder.step(key, () =>
      timeRival(material.device, material.network, name, candidate, ways, plain, test, {
        normalisation: data.normalisation,
        rounds: settings.rounds,
        pictures: settings.timedPictures,
      }),
    );
    wall.push(...own);
    stage.advance(1);
  }
  stage.done();
  const rows: readonly RivalRow[] = [
    ...searched.flatMap(({ candidate, ways }) => frontierRows(name, candidate, ways)),
    ...wall.map(({ dataset: own, method, budget, seed: one, macsFraction, accuracy, wallFraction }) => ({
      dataset: own,
      method,
      budget,
      seed: one,
      askedFraction: null,
      macsFraction,
      accuracy,
      wallFraction,
    })),
  ];
  for (const row of rows) await folder.metric({ ...row });
  const within: readonly WithinRow[] = searched.flatMap(({ candidate, ways }) =>
    withinRows(name, candidate, ways, plain),
  );
  // Gates leave by other rules from the same exits.
  const perExit: readonly ExitRow[] = candidates
    .filter(({ method }) => method !== "bwds")
    .flatMap(({ method, budget, seed: own, costs, own: record }) =>
      record.exits.map((_, exit) => ({
        dataset: name,
        method,
        budget,
        seed: own,
        exit,
        macsFraction: costs.exits[exit]! / costs.full,
        accuracy: accuracyOfExit(record, exit),
      })),
    );
  const training: readonly TrainingRow[] = candidates.map(({ method, budget, seed: own, epochs, seconds }) => ({
    dataset: name,
    method,
    budget,
    seed: own,
    epochs,
    seconds,
  }));
  return {
    about: {
      dataset: name,
      name: data.name,
      complete: data.complete && material.train.n === data.train.n && test.n === data.test.n,
      train: material.train.n,
      test: test.n,
      classes: material.network.classes,
      network: `resnet${subject.depth}`,
      macs: material.network.macs,
      accuracy: accuracyOfExit(plain, plain.exits.length - 1),
      trained: trained === null ? null : { epochs: trained.epochs, seconds: trained.seconds },
      files: data.files,
    },
    rows,
    within,
    perExit,
    training,
    diverged,
    memory: await memoryRows(context, subject, settings),
    wall,
  };
}

/** Each method in a process of its own. */
async function memoryRows(
  { run: folder, progress }: Context,
  { dataset, material, depth, weights }: Subject,
  { memory: methods }: RivalSettings,
): Promise<readonly MemoryRow[]> {
  const { train, normalisation, augmentation, batch, device } = material;
  const stage = progress.stage(`${dataset.name}: peak memory`, methods.length, "methods");
  const rows: MemoryRow[] = [];
  for (const method of methods) {
    const bytes = await folder.step(`${dataset.name}-${method}-memory`, () => {
      const job = { method, device: device.kind, depth, batch, shape: train.shape, normalisation, augmentation };
      return peakMemory(job, weights, train, `${folder.path}/memory-${dataset.name}-${method}`);
    });
    rows.push({ dataset: dataset.name, method, bytes });
    stage.advance(1);
  }
  stage.done();
  return rows;
}

function summary(parts: readonly Awaited<ReturnType<typeof compare>>[]) {
  const percent = (value: number | null) => (value === null ? "–" : `${(100 * value).toFixed(2)} %`);
  const rows = parts.flatMap(({ about, rows: points, wall, training, memory }) =>
    wall
      .filter(({ asked }) => asked === "loss")
      .map((row) => {
        const taken = training.find((one) => one.method === row.method && one.budget === row.budget);
        // Gates take the memory of the exits that they are learned on.
        const peak = memory.find((one) => one.method === (row.method === "bwds" ? "sdn" : row.method));
        const at = (fraction: number) => {
          const seeds = accuraciesAt(points, about.dataset, [row.method, row.budget], fraction);
          return percent(seeds.size === 0 ? null : spread([...seeds.values()]).mean);
        };
        return [
          about.name,
          row.method,
          row.budget,
          at(0.25),
          at(0.5),
          `${percent(row.accuracy)} (plain ${percent(row.fullAccuracy)})`,
          `${row.macsFraction.toFixed(3)} ×`,
          `${row.wallFraction.toFixed(3)} ×`,
          taken?.seconds == null ? "–" : `${taken.seconds.toFixed(1)} s`,
          peak === undefined ? "–" : `${Math.round(peak.bytes / 2 ** 20)} MiB`,
        ];
      }),
  );
  return {
    head: [
      "data",
      "method",
      "budget",
      "right at ≤ .25 MACs",
      "at ≤ .50",
      "timed setting",
      "its MACs",
      "its time",
      "fitting",
      "peak memory",
    ],
    rows,
    notes: [
      "Thresholds from one half of the test pictures, accuracy on the other half, both ways; timed on the second half only, batch 64.",
      ...parts.flatMap(({ about, diverged }) =>
        diverged.map(
          ({ method, seed, step }) => `${about.name}: ${method} with seed ${seed} diverged in step ${step}.`,
        ),
      ),
      "MACs (exits included) and time are fractions of the plain network's.",
    ],
  };
}
