import { join } from "node:path";
import { type Device, training } from "@exitkit/core-gpu";
import { exitRecord, type FittedExit, openClassifier, recordScores } from "@exitkit/e2cm";
import {
  attachGates,
  type ExitModel,
  type ExitParameters,
  type ExitRecord,
  fitGates,
  type Gates,
  type LogitsRecord,
  openStaged,
  recordExits,
  recordLogits,
  toExitModel,
} from "@exitkit/early-exit";
import { counted, PASS_BATCH } from "../../measuring/counted.ts";
import type { Opened } from "../../measuring/wall.ts";
import type { Context } from "../experiment.ts";
import type { Budget, Candidate, Divergence } from "./candidate.ts";
import { type ClassMeansMethod, fitClassMeans, meansAt } from "./class-means.ts";
import { halfOfLogits } from "./frontiers.ts";
import type { Subject } from "./prepare.ts";
import { apart } from "./together.ts";
import {
  DISTANCES,
  type DistanceMethod,
  type TrainedMethod,
  type TrainedRival,
  takesDistances,
  tapsOf,
  trainedRival,
  trainRivals,
} from "./trained.ts";

/** Steps between two checkpoints: what a killed run loses at most. */
const CHECKPOINT_EVERY = 50;

/** E²CM on a subject: fitted in one pass, then asked about all test pictures; and its means. Nothing of it is random. */
export async function classMeansCandidate(
  { run, progress }: Context,
  { dataset, material, test }: Subject,
  method: ClassMeansMethod,
): Promise<{ readonly candidate: Candidate; readonly means: DistanceMeans }> {
  const { device, network, normalisation } = material;
  const { model } = network.folded;
  const key = `${dataset.name}-${method}`;
  const { fitted, seconds } = await run.step(`${key}-fit`, async () => {
    const begun = performance.now();
    const fitted = await fitClassMeans(material, method, progress);
    return { fitted, seconds: secondsSince(begun) };
  });
  const record = await run.step(`${key}-test`, async (): Promise<ExitRecord> => {
    const stream = counted(progress, `${key}: test pictures`, test, PASS_BATCH, normalisation);
    return exitRecord(fitted, await recordScores(model, fitted, stream, { device }));
  });
  const candidate: Candidate = {
    method,
    budget: "one epoch",
    seed: null,
    epochs: 1,
    seconds,
    costs: fitted.costs,
    record,
    own: record,
    open: ({ thresholds }) => openClassifier(model, fitted, { thresholds, device }),
  };
  return { candidate, means: { exits: fitted.exits, seconds } };
}

/** Class means and how long they took; at the places of Shallow-Deep exits, their distances are further inputs there. */
export interface DistanceMeans {
  readonly exits: readonly FittedExit[];
  readonly seconds: number;
}

/** The means of `e2cm-sdn` on a subject, by one pass. */
export async function distanceMeans({ run }: Context, { dataset, material }: Subject): Promise<DistanceMeans> {
  return run.step(`${dataset.name}-e2cm-sdn-means`, async () => {
    const begun = performance.now();
    const exits = await meansAt(material, tapsOf(material.network, "e2cm-sdn"), DISTANCES["e2cm-sdn"]);
    return { exits, seconds: secondsSince(begun) };
  });
}

/** A candidate and, of a trained one, what gates can be learned on. */
export interface Trained {
  readonly candidate: Candidate;
  /** Begins the keys of its steps. */
  readonly key: string;
  readonly rival: TrainedRival;
  readonly params: ExitParameters;
  /** What the exits, each for itself, say about all test pictures. */
  readonly own: LogitsRecord;
}

/** What a step keeps of training: of a frozen backbone nothing. */
interface KeptTraining {
  readonly exits: ExitParameters["exits"];
  readonly backbone: ExitParameters["backbone"] | null;
  readonly seconds: number | null;
}

/** How rivals are trained. */
export interface TrainingPlan {
  readonly budget: Budget;
  readonly seed: number;
  readonly epochs: number;
  /** Of each method that is given distances. */
  readonly means?: Readonly<Record<DistanceMethod, DistanceMeans>>;
}

/**
 * Trained rivals on a subject: trained with one seed, then asked about all test pictures; or where their training diverged.
 *
 * @param methods One, or several whose exits are trained in the same passes.
 */
export async function trainedCandidates(
  context: Context,
  subject: Subject,
  methods: readonly TrainedMethod[],
  plan: TrainingPlan,
): Promise<readonly (Trained | Divergence)[]> {
  const { run, progress } = context;
  const { dataset, material } = subject;
  const { budget, seed, epochs, means } = plan;
  const rivals: TrainedRival[] = [];
  for (const method of methods) {
    rivals.push(await trainedRival(material, method, takesDistances(method) ? means?.[method].exits : []));
  }
  const keyOf = (name: string) =>
    `${dataset.name}-${name}-${budget === "unlimited" ? `epochs${epochs}-` : ""}seed${seed}`;
  const key = keyOf(methods.join("-and-"));
  const kept = await run.step(`${key}-fit`, async (): Promise<KeptTraining | { readonly divergedAt: number }> => {
    const steps = epochs * Math.floor(material.train.n / material.batch);
    const stage = progress.stage(`${key}: training`, steps * material.batch, "pictures");
    let done = 0;
    try {
      const { params, seconds } = await trainRivals(material, rivals, {
        seed,
        epochs,
        checkpoint: { folder: join(run.path, "checkpoints", key), everySteps: CHECKPOINT_EVERY },
        onStep: ({ step }) => {
          stage.advance(material.batch * (step - done));
          done = step;
        },
      });
      const backbone = rivals[0]!.method.training.trains === "all" ? params[0]!.backbone : null;
      return { exits: params.flatMap((own) => own.exits), backbone, seconds };
    } catch (error) {
      // A cause means that something else failed than the training.
      if (!(error instanceof training.TrainingError) || error.cause !== undefined) throw error;
      progress.note(`${key} diverged: ${error.message}`);
      return { divergedAt: error.step };
    } finally {
      stage.done();
    }
  });
  if ("divergedAt" in kept) return methods.map((method) => ({ method, budget, seed, epochs, step: kept.divergedAt }));
  const { exits, backbone, seconds } = kept;
  const networks = rivals.map(({ network }) => network);
  const params = apart(networks, { exits, backbone: backbone ?? networks[0]!.backbone.params });
  const trained: Trained[] = [];
  for (const [at, method] of methods.entries()) trained.push(await askedAboutTest(method, rivals[at]!, params[at]!));
  return trained;

  async function askedAboutTest(method: TrainedMethod, rival: TrainedRival, params: ExitParameters): Promise<Trained> {
    const { device, normalisation } = material;
    const key = keyOf(method);
    const options = rival.method.rule;
    const model = toExitModel(rival.network, params, options);
    const pictures = (title: string) => counted(progress, `${key}: ${title}`, subject.test, PASS_BATCH, normalisation);
    const own = await run.step(`${key}-own`, async (): Promise<LogitsRecord> => {
      const each = toExitModel(rival.network, params, { ...options, whenNoneIsSure: "last" });
      return recordLogits(device, each, pictures("test pictures, each exit for itself"));
    });
    const asked = async (): Promise<ExitRecord> => recordExits(device, model, pictures("test pictures"));
    const candidate: Candidate = {
      method,
      budget,
      seed,
      epochs,
      seconds: seconds && seconds + (takesDistances(method) ? (means?.[method].seconds ?? 0) : 0),
      costs: rival.costs,
      record: options.whenNoneIsSure === "mostConfident" ? await run.step(`${key}-test`, asked) : own,
      own,
      open: ({ thresholds }) => openAt(device, model, thresholds),
    };
    return { candidate, key, rival, params, own };
  }
}

/** What the whole cost of the plain network counts in errors, from hardly anything to more than all of them. */
const TRADE_OFFS: readonly number[] = Array.from({ length: 32 }, (_, index) => 0.01 * 1.25 ** index);

/**
 * The exits of Shallow-Deep Networks with learned gates in place of thresholds, BWDS-style: gates for several trade-offs,
 * learned on each half of the test pictures; the last exit answers what no gate lets go.
 */
export async function gatedCandidate(
  { run }: Context,
  { material: { device } }: Subject,
  { candidate, key, rival, params, own: record }: Trained,
): Promise<Candidate> {
  const model = toExitModel(rival.network, params);
  const kept = await run.step(`${key}-bwds-fit`, async () => {
    const begun = performance.now();
    const [first, second] = [0, 1].map((half) => {
      const learnedOn = halfOfLogits(record, half);
      return TRADE_OFFS.map((tradeOff) => fitGates(learnedOn, candidate.costs, { tradeOff }));
    });
    return { gates: [first!, second!] as [Gates[], Gates[]], seconds: secondsSince(begun) / 2 };
  });
  return {
    ...candidate,
    method: "bwds",
    seconds: candidate.seconds && candidate.seconds + kept.seconds,
    record,
    own: record,
    gates: kept.gates,
    open: ({ gates, thresholds }) => openAt(device, attachGates(model, gates!), thresholds),
  };
}

async function openAt(device: Device, model: ExitModel, thresholds: readonly number[]): Promise<Opened> {
  const staged = await openStaged(device, model);
  return { classify: (x) => staged.classify(x, thresholds), release: () => staged.release() };
}

function secondsSince(begun: number): number {
  return (performance.now() - begun) / 1000;
}
