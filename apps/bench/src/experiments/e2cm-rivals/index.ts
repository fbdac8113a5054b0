import { dataOf } from "../../data/directory.ts";
import { accuracyAt } from "../../measuring/answers.ts";
import { onDevice } from "../../measuring/device.ts";
import { seedsOf } from "../../measuring/seeds.ts";
import { eachStep } from "../../measuring/steps.ts";
import { type Context, experiment } from "../experiment.ts";
import { DATASETS, EPOCHS, PICTURES, SEEDS } from "../options.ts";
import type { Candidate, Divergence } from "./candidate.ts";
import { claimsOf } from "./claims.ts";
import { chosenDatasets, type RivalDataset } from "./datasets.ts";
import { classMeansCandidate, distanceMeans, gatedCandidate, trainedCandidates } from "./fit.ts";
import { bothWays, frontierRows, withinRows } from "./frontiers.ts";
import { peakMemory } from "./memory.ts";
import { FIGURE, POSTER, POSTER_FRACTIONS } from "./paper.ts";
import { prepare, type Subject } from "./prepare.ts";
import { keep, measured, readme, report, summary } from "./report.ts";
import { type RivalRow, schema } from "./schema.ts";
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
  reads: ["cifar10"],
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
  const { epochs, batch } = settings;
  const datasets = await chosenDatasets(context);
  return onDevice(context, async (device) => {
    const parts: Awaited<ReturnType<typeof compare>>[] = [];
    for (const dataset of datasets) {
      parts.push(await compare(context, await prepare(context, device, dataset, settings), settings));
    }
    const rows = parts.flatMap((part) => part.rows);
    const diverged = parts.flatMap((part) => part.diverged);
    const plain = new Map(parts.map(({ about }) => [about.dataset, about.accuracy]));
    const seeds = extras.seeds ?? 1;
    return {
      ranOn: device.kind,
      datasets: parts.map(({ about }) => about),
      settings: { epochs, batch, seeds, timedLoss: TIMED_LOSS, timedFraction: TIMED_FRACTION },
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
  const { run: folder } = context;
  const { dataset, material, trained } = subject;
  const { name, data } = dataset;
  const e2cm = await classMeansCandidate(context, subject, "e2cm");
  const places = await classMeansCandidate(context, subject, "e2cm-places");
  const euclidean = await classMeansCandidate(context, subject, "e2cm-euclidean");
  const candidates = [e2cm.candidate, places.candidate, euclidean.candidate];
  const diverged: ({ readonly dataset: RivalDataset } & Divergence)[] = [];
  const means = { "e2cm-sdn": await distanceMeans(context, subject), "e2cm-sdn-shared": places.means };
  for (const seed of seedsOf(context)) {
    const oneEpoch = { budget: "one epoch", epochs: 1, seed } as const;
    const many = { budget: "unlimited", epochs: settings.epochs, seed, means } as const;
    const made = [
      ...(await trainedCandidates(context, subject, ["sdn"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["sdn-joint"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["branchynet"], oneEpoch)),
      ...(await trainedCandidates(context, subject, ["sdn", "e2cm-sdn", "e2cm-sdn-shared"], many)),
    ];
    for (const one of made) {
      if (!("candidate" in one)) diverged.push({ dataset: name, ...one });
      else {
        candidates.push(one.candidate);
        if (one.candidate.method === "sdn") candidates.push(await gatedCandidate(context, subject, one));
      }
    }
  }
  const plain = e2cm.candidate.record;
  const searched = candidates.map((candidate) => ({ candidate, ways: bothWays(candidate) }));
  // Of every method the first seed that did not diverge.
  const firstOf = ({ method, budget }: Candidate) =>
    candidates.findIndex((one) => one.method === method && one.budget === budget);
  const timed = searched.filter(({ candidate }, index) => firstOf(candidate) === index);
  const keyOf = ({ candidate: { method, budget, epochs } }: (typeof timed)[number]) =>
    `${name}-${method}-${budget === "unlimited" ? `epochs${epochs}-` : ""}wall`;
  const times = await eachStep(context, [`${name}: wall clock`, "methods"], timed, keyOf, ({ candidate, ways }) =>
    timeRival(subject, candidate, ways[0], plain, settings),
  );
  const wall = times.flat();
  const rows: readonly RivalRow[] = [
    ...searched.flatMap(({ candidate, ways }) => frontierRows(name, candidate, ways)),
    ...wall.map(({ method, budget, seed, macsFraction, accuracy, wallFraction }) => {
      return { dataset: name, method, budget, seed, askedFraction: null, macsFraction, accuracy, wallFraction };
    }),
  ];
  for (const row of rows) await folder.metric({ ...row });
  const { network } = material;
  return {
    about: {
      dataset: name,
      ...dataOf(data),
      classes: network.classes,
      network: `resnet${subject.depth}`,
      macs: network.macs,
      accuracy: accuracyAt(plain, plain.exits.length - 1),
      trained: trained === null ? null : { epochs: trained.epochs, seconds: trained.seconds },
    },
    rows,
    within: searched.flatMap(({ candidate, ways }) => withinRows(name, candidate, ways, plain)),
    // Gates leave by other rules from the same exits.
    perExit: candidates
      .filter(({ method }) => method !== "bwds")
      .flatMap(({ method, budget, seed, costs, own }) =>
        own.exits.map((_, exit) => {
          const macsFraction = costs.exits[exit]! / costs.full;
          return { dataset: name, method, budget, seed, exit, macsFraction, accuracy: accuracyAt(own, exit) };
        }),
      ),
    training: candidates.map(({ method, budget, seed, epochs, seconds }) => {
      return { dataset: name, method, budget, seed, epochs, seconds };
    }),
    diverged,
    memory: await memoryRows(context, subject, settings),
    wall,
  };
}

/** Each method in a process of its own. */
async function memoryRows(
  context: Context,
  { dataset: { name }, material, depth, weights }: Subject,
  { memory: methods }: RivalSettings,
) {
  const { train, normalisation, augmentation, batch, device } = material;
  const keyOf = (method: string) => `${name}-${method}-memory`;
  const peaks = await eachStep(context, [`${name}: peak memory`, "methods"], methods, keyOf, (method) => {
    const job = { method, device: device.kind, depth, batch, shape: train.shape, normalisation, augmentation };
    return peakMemory(job, weights, train, `${context.run.path}/memory-${name}-${method}`);
  });
  return peaks.map((bytes, index) => ({ dataset: name, method: methods[index]!, bytes }));
}
