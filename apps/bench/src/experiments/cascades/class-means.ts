import type { Device } from "@exitkit/core-gpu";
import { fit, toExitModel } from "@exitkit/e2cm";
import {
  cascade,
  countExitCosts,
  type ExitCosts,
  type ExitModel,
  type ExitRecord,
  recordExits,
  replay,
  solveThresholds,
} from "@exitkit/early-exit";
import type { Dataset } from "../../data/directory.ts";
import { PIXELS } from "../../data/normalisation.ts";
import { slicePictures } from "../../data/pictures.ts";
import { accuracyAt, meanOf } from "../../measuring/answers.ts";
import { counted } from "../../measuring/counted.ts";
import { foldRecords } from "../../measuring/halves.ts";
import type { Context } from "../experiment.ts";
import type { Network } from "./networks.ts";

/** A network with exits by class means, alone or as the last of a cascade, and what it said of all test pictures. */
export interface WithClassMeans {
  readonly exits: ExitModel;
  readonly normalisation: Network["normalisation"];
  readonly record: ExitRecord;
  readonly costs: ExitCosts;
}

/** An operating point chosen on each half and seen on the other. */
export interface Seen {
  /** Chosen on the first half, on the second. */
  readonly thresholds: readonly [readonly number[], readonly number[]];
  /** Of all pictures, what they answer by the thresholds of the other half. */
  readonly answers: Int32Array;
  readonly accuracy: number;
  readonly macsFraction: number;
}

type Given = Pick<Context, "progress" | "run">;

/** Fits means of the network's features, as they are in its precision, on the first training pictures. */
export async function withClassMeans(
  { progress, run }: Given,
  device: Device,
  network: Network,
  { train, test }: Dataset,
  pictures: number,
): Promise<WithClassMeans> {
  const { name, model, normalisation } = network;
  const used = slicePictures(train, 0, Math.min(pictures, train.n));
  const fitted = await run.step(`class-means-${name.replace(" ", "-")}`, () =>
    fit(model, counted(progress, `class means of ${name}`, used, undefined, normalisation), { classes: 10, device }),
  );
  const made = await toExitModel(model, fitted, { device });
  return recorded({ progress, run }, device, `${name} with class means`, made, normalisation, test);
}

/** The cascade whose last member has exits by class means before its answer. */
export async function inCascade(
  given: Given,
  device: Device,
  before: readonly Network[],
  last: Network,
  own: WithClassMeans,
  temperatures: readonly number[],
  { test }: Dataset,
): Promise<WithClassMeans> {
  const members = [...before, last].map((network, j) => ({
    ...network.member,
    temperature: temperatures[j]!,
    ...(network === last ? { model: own.exits } : {}),
  }));
  const exits = cascade(members, { sampleShape: [3, 32, 32] });
  return recorded(given, device, "a cascade with class means inside", exits, PIXELS, test);
}

async function recorded(
  { progress, run }: Given,
  device: Device,
  name: string,
  exits: ExitModel,
  normalisation: Network["normalisation"],
  test: Dataset["test"],
): Promise<WithClassMeans> {
  const record = await run.step(`record-${name.replaceAll(" ", "-")}`, () =>
    recordExits(device, exits, counted(progress, name, test, undefined, normalisation)),
  );
  return { exits, normalisation, record, costs: await countExitCosts(device, exits) };
}

/**
 * Thresholds on each half that lose at most so much of the float network's accuracy there, seen on the other half.
 *
 * @param reference Of all pictures, 1 where the float network is right.
 * @param full The float network's MACs.
 */
export function seenOnOtherHalf(
  { record, costs }: WithClassMeans,
  reference: Uint8Array,
  wantedLoss: number,
  full: number,
): Seen {
  const halves = foldRecords(record);
  const chosen = halves.map((half, at) => {
    const wanted = meanOf([...reference.subarray(at * half.n, (at + 1) * half.n)]) - wantedLoss;
    const spare = accuracyAt(half, half.exits.length - 1) - wanted;
    return solveThresholds(half, costs, { maxAccuracyLoss: Math.min(1, Math.max(0, spare)) }).thresholds;
  });
  const seen = halves.map((half, at) => replay(half, chosen[1 - at]!, costs));
  return {
    thresholds: [chosen[0]!, chosen[1]!],
    answers: Int32Array.from(seen.flatMap(({ predictions }) => [...predictions])),
    accuracy: meanOf(seen.map(({ accuracy }) => accuracy)),
    macsFraction: meanOf(seen.map(({ meanCost }) => meanCost)) / full,
  };
}
