import { accuracyAt as accuracyOfExit } from "../../measuring/answers.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { type Context, experiment } from "../experiment.ts";
import { DATASETS, EPOCHS, PICTURES, SEEDS } from "../options.ts";
import type { Divergence } from "./candidate.ts";
import { claimsOf } from "./claims.ts";
import { chosenDatasets, type RivalDataset } from "./datasets.ts";
import { classMeansCandidate, distanceMeans, gatedCandidate, trainedCandidates } from "./fit.ts";
import { bothWays, frontierRows, withinRows } from "./frontiers.ts";
import { peakMemory } from "./memory.ts";
import { FIGURE, POSTER, POSTER_FRACTIONS } from "./paper.ts";
import { prepare, type Subject } from "./prepare.ts";
import { keep, measured, readme, report, summary } from "./report.ts";
import { type RivalRow, type RivalsResult, schema, type WallRow } from "./schema.ts";
import { type RivalSettings, SETTINGS } from "./settings.ts";
import { TIMED_FRACTION, TIMED_LOSS, timeRival } from "./wall.ts";

/** E²CM beside exits that are trained. */
export const e2cmRivals = experiment({
  name: "e2cm-rivals",
  title: "E²CM against trained exits: one epoch, and many",
  about:
    "One forward pass of class means against one epoch of Shallow-Deep Networks and of BranchyNet on the same network, then " +
    "Shallow-Deep exits with and without class distances over several epochs: accuracy against MACs, wall clock at batch 64, " +
    "training time and peak memory. --datasets cifar10,cifar100,fashion-mnist,kmnist,mnist chooses.",
  heading: "E²CM against trained exits",
  takes: [SEEDS, PICTURES, EPOCHS, DATASETS],
  presets: SETTINGS,
  schema,
  run: rivals,
  summary,
  report,
  measured,
  readme,
  keep,
});

/** The comparison with settings of one's own. */
export async function rivals(context: Context, usual: RivalSettings) {
  const { extras } = context;
  const settings = { ...usual, epochs: extras.epochs ?? usual.epochs };
  const datasets = await chosenDatasets(context);
  return onDevice(context, async (device) => {
    const parts: Awaited<ReturnType<typeof compare>>[] = [];
    for (const dataset of datasets) {
      parts.push(await compare(context, await prepare(context, device, dataset, settings), settings));
    }
    const rows = parts.flatMap((part) => part.rows);
    const diverged = parts.flatMap((part) => part.diverged);
    const plain = new Map(parts.map(({ about }) => [about.dataset, about.accuracy]));
    return {
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
      within: parts.flatMap((part) => part.within),
      perExit: parts.flatMap((part) => part.perExit),
      training: parts.flatMap((part) => part.training),
      diverged,
      memory: parts.flatMap((part) => part.memory),
      wall: parts.flatMap((part) => part.wall),
      poster: { fractions: POSTER_FRACTIONS, paper: POSTER },
      figure: FIGURE,
      claims: claimsOf({ rows, plain, diverged }),
    };
  });
}

/** All methods on one data set. */
async function compare(context: Context, subject: Subject, settings: RivalSettings) {
  const { run: folder, progress } = context;
  const { dataset, material, test, trained } = subject;
  const { name, data } = dataset;
  const e2cm = await classMeansCandidate(context, subject, "e2cm");
  const places = await classMeansCandidate(context, subject, "e2cm-places");
  const euclidean = await classMeansCandidate(context, subject, "e2cm-euclidean");
  const candidates = [e2cm.candidate, places.candidate, euclidean.candidate];
  const diverged: ({ readonly dataset: RivalDataset } & Divergence)[] = [];
  const means = { "e2cm-sdn": await distanceMeans(context, subject), "e2cm-sdn-shared": places.means };
  for (const own of seedsOf(context)) {
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
  const wall: WallRow[] = [];
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
  const within = searched.flatMap(({ candidate, ways }) => withinRows(name, candidate, ways, plain));
  // Gates leave by other rules from the same exits.
  const perExit = candidates
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
  const training = candidates.map(({ method, budget, seed: own, epochs, seconds }) => ({
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
) {
  const { train, normalisation, augmentation, batch, device } = material;
  const stage = progress.stage(`${dataset.name}: peak memory`, methods.length, "methods");
  const rows: RivalsResult["memory"][number][] = [];
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
