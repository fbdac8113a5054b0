import { generator } from "@exitkit/core-gpu";
import { exitRecord, type FittedExits, recordScores, type ScoreRecord, updateClasses } from "@exitkit/e2cm";
import { REJECTED } from "@exitkit/early-exit";
import { type Pictures, selectPictures } from "../../data/pictures.ts";
import { counted } from "../../measuring/counted.ts";
import { spread } from "../../measuring/spread.ts";
import { grouped } from "../../report/series.ts";
import { accuracyOf, aurocRows } from "./measures.ts";
import type { AurocRow, OnlineRow } from "./schema.ts";
import { FULL, METRICS, nearestMeans, OUTPUTS, type Subject, sumUp } from "./subject.ts";

/** Classes left out of fitting. */
const HELD_OUT = 2;
const KNOWN = OUTPUTS - HELD_OUT;

/** Pictures of every new class that its means are made of. */
const SAMPLES = [1, 5, 10, 50] as const;

/** Pictures that must be there of every class. */
export const LEAST_OF_A_CLASS = Math.max(...SAMPLES);

/** One class means network with new classes, of one draw of their pictures: how right it is about old and new ones, and was before. */
export interface OnlineMeasure extends Pick<OnlineRow, "samples" | "exit" | "macsFraction" | "predictFrom"> {
  readonly seed: number;
  readonly draw: number;
  readonly old: number;
  readonly before: number;
  readonly fresh: number;
}

/** The classes in an order in which the held-out ones come last; the same for every network of a seed. */
export function classOrder(seed: number): readonly number[] {
  return [...generator(seed).permutation(OUTPUTS)];
}

/** Pictures with their labels in that order. */
export function reordered(pictures: Pictures, order: readonly number[]): Pictures {
  return { ...pictures, labels: pictures.labels.map((label) => order.indexOf(label)) };
}

/** The names of the held-out classes in an order of {@link classOrder}. */
export function heldOutNames(order: readonly number[], names: readonly string[]): readonly string[] {
  return order.slice(KNOWN).map((label) => names[label]!);
}

/** Those among reordered pictures whose class is not held out. */
export function knownOnly(pictures: Pictures): Pictures {
  return selectPictures(
    pictures,
    rowsWhere(pictures, (label) => label < KNOWN),
  );
}

function rowsWhere({ labels }: { readonly labels: Int32Array }, wanted: (label: number) => boolean): readonly number[] {
  return [...labels.keys()].filter((row) => wanted(labels[row]!));
}

/**
 * Means of eight classes; the two others are first unknown, then added.
 *
 * @param settings.unknown "held out" or "held out, unseen".
 * @param settings.draws Random draws of every number of samples.
 */
export async function heldOut(
  subject: Subject,
  { seed, unknown, draws }: { readonly seed: number; readonly unknown: string; readonly draws: number },
): Promise<{ readonly auroc: readonly AurocRow[]; readonly online: readonly OnlineMeasure[] }> {
  const { context, backbone, device, data } = subject;
  const { name, model } = backbone;
  const order = classOrder(seed);
  const [train, test] = [reordered(data.train, order), reordered(data.test, order)];
  const known = knownOnly(train);
  const unlabelled = { ...test, labels: test.labels.map((label) => (label < KNOWN ? label : REJECTED)) };
  const auroc: AurocRow[] = [];
  let means: FittedExits | null = null;
  let before: ScoreRecord | null = null;
  for (const metric of METRICS) {
    const statistics = await sumUp(subject, `means of ${KNOWN} classes, ${metric}`, known, KNOWN, metric);
    const exits = await nearestMeans(subject, statistics, metric);
    const title = `${name}: ${KNOWN} classes and ${HELD_OUT} unknown, ${metric}`;
    const stream = counted(context.progress, title, unlabelled);
    const scores = await recordScores(model, exits, stream, { device });
    const rows = (wanted: boolean) => rowsOf(scores, (label) => (label === REJECTED) === wanted);
    auroc.push(...aurocRows({ backbone: name, unknown, metric }, exits, rows(false), rows(true)));
    if (metric === "euclidean") [means, before] = [exits, rows(false)];
  }
  return { auroc, online: await addedOnline(subject, means!, before!, { train, test, seed, draws }) };
}

/** Adds the held-out classes from few samples, and all at once from all of them. */
async function addedOnline(
  subject: Subject,
  means: FittedExits,
  before: ScoreRecord,
  { train, test, seed, draws }: { train: Pictures; test: Pictures; seed: number; draws: number },
): Promise<readonly OnlineMeasure[]> {
  const { context, backbone, device } = subject;
  const random = generator(seed).split();
  const perClass = Array.from({ length: HELD_OUT }, (_, held) => rowsWhere(train, (label) => label === KNOWN + held));
  const few = (samples: number) =>
    perClass.flatMap((rows) => Array.from(random.permutation(rows.length).subarray(0, samples), (at) => rows[at]!));
  const choices: { samples: number | null; draw: number; rows: readonly number[] }[] = SAMPLES.flatMap((samples) =>
    Array.from({ length: draws }, (_, draw) => ({ samples, draw, rows: few(samples) })),
  );
  choices.push({ samples: null, draw: 0, rows: perClass.flat() });
  const variants: FittedExits[] = [];
  for (const { rows, samples, draw } of choices) {
    const title = samples === null ? "all pictures of new classes" : `${samples} of new classes, draw ${draw + 1}`;
    const statistics = await sumUp(subject, title, selectPictures(train, rows), OUTPUTS, "euclidean");
    variants.push(updateClasses(means, statistics));
  }
  // All variants ride on one pass; with the network's own head last, its outputs are recorded as they are.
  const exits = variants.flatMap((variant) => variant.exits);
  const riding: FittedExits = { ...variants[0]!, exits, last: "head", output: null };
  const stream = counted(context.progress, `${backbone.name}: test with the new classes`, test);
  const scored = await recordScores(backbone.model, riding, stream, { device });
  const each = means.exits.length;
  return choices.flatMap(({ samples, draw }, index) => {
    const fitted = variants[index]!;
    const own = {
      ...scored,
      scores: [...scored.scores.slice(index * each, (index + 1) * each), lastDistances(fitted)],
    };
    return (["raw", "normalised"] as const).flatMap((predictFrom) => {
      const [after, former] = [exitRecord(fitted, own, { predictFrom }), exitRecord(means, before, { predictFrom })];
      return after.exits.map((_, exit) => ({
        samples,
        seed,
        draw,
        predictFrom,
        exit: fitted.exits[exit]?.tap ?? FULL,
        macsFraction: fitted.costs.exits[exit]! / fitted.costs.full,
        old: accuracyOf(after, exit, (label) => label < KNOWN),
        before: accuracyOf(former, exit, () => true),
        fresh: accuracyOf(after, exit, (label) => label >= KNOWN),
      }));
    });
  });

  /** Distances of the recorded outputs to a variant's means of them. */
  function lastDistances({ output }: FittedExits): Float32Array {
    const logits = scored.scores.at(-1)!;
    const centres = (output as { readonly means: Float32Array }).means;
    return Float32Array.from({ length: logits.length }, (_, at) => {
      const [row, label] = [Math.floor(at / OUTPUTS), at % OUTPUTS];
      let squared = 0;
      for (let i = 0; i < OUTPUTS; i++) squared += (logits[row * OUTPUTS + i]! - centres[label * OUTPUTS + i]!) ** 2;
      return Math.sqrt(squared);
    });
  }
}

/** The scores of some of the rows. */
function rowsOf(record: ScoreRecord, among: (label: number) => boolean): ScoreRecord {
  const rows = rowsWhere(record, among);
  return {
    n: rows.length,
    classes: record.classes,
    scores: record.scores.map((own) => {
      const k = own.length / record.n;
      const taken = new Float32Array(rows.length * k);
      rows.forEach((row, at) => {
        taken.set(own.subarray(row * k, (row + 1) * k), at * k);
      });
      return taken;
    }),
    labels: Int32Array.from(rows, (row) => record.labels[row]!),
  };
}

/** Measures of several runs as rows; every seed must have the same draws. */
export function onlineRows(
  label: Pick<OnlineRow, "backbone" | "unknown">,
  measures: readonly OnlineMeasure[],
): readonly OnlineRow[] {
  const keyOf = ({ samples, exit, predictFrom }: OnlineMeasure) => `${samples} ${exit} ${predictFrom}`;
  return grouped(measures, keyOf).map(([, own]) => {
    const { samples, exit, macsFraction, predictFrom } = own[0]!;
    const bySeed = new Map(own.map(({ seed, before }) => [seed, before]));
    return {
      ...label,
      samples,
      exit,
      macsFraction,
      predictFrom,
      old: spread(own.map(({ old }) => old)),
      before: spread([...bySeed.values()]),
      fresh: spread(own.map(({ fresh }) => fresh)),
      seeds: bySeed.size,
      draws: own.length / bySeed.size,
    };
  });
}
