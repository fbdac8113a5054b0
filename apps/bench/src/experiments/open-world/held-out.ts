import { generator } from "@exitkit/core-gpu";
import { exitRecord, type FittedExits, recordScores, type ScoreRecord, updateClasses } from "@exitkit/e2cm";
import { REJECTED } from "@exitkit/early-exit";
import { type Pictures, selectPictures } from "../../data/pictures.ts";
import { counted } from "../../measuring/counted.ts";
import { spread } from "../../measuring/spread.ts";
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

/** One class means network with new classes: how right it is afterwards. */
export interface OnlineMeasure {
  /** Pictures of every new class; null: all there are, which is what fitting again gives. */
  readonly samples: number | null;
  readonly exit: string;
  readonly macsFraction: number;
  readonly predictFrom: "raw" | "normalised";
  readonly seed: number;
  readonly draw: number;
  /** Right among old classes' test pictures, and before there were new ones. */
  readonly old: number;
  readonly before: number;
  /** Right among new classes' test pictures. */
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
  const rows = Array.from({ length: pictures.n }, (_, row) => row);
  return selectPictures(
    pictures,
    rows.filter((row) => pictures.labels[row]! < KNOWN),
  );
}

/** Settings of {@link heldOut}. */
export interface HeldOutSettings {
  readonly seed: number;
  /** "held out" or "held out, unseen". */
  readonly unknown: string;
  /** Random draws of every number of samples. */
  readonly draws: number;
}

/** Means of eight classes; the two others are first unknown, then added. */
export async function heldOut(
  subject: Subject,
  { seed, unknown, draws }: HeldOutSettings,
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
    const stream = counted(
      context.progress,
      `${name}: ${KNOWN} classes and ${HELD_OUT} unknown, ${metric}`,
      unlabelled,
    );
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
  const perClass = Array.from({ length: HELD_OUT }, (_, held) =>
    Array.from({ length: train.n }, (_, row) => row).filter((row) => train.labels[row] === KNOWN + held),
  );
  const all = perClass.flat();
  const choices: { samples: number | null; draw: number; rows: readonly number[] }[] = SAMPLES.flatMap((samples) =>
    Array.from({ length: draws }, (_, draw) => ({
      samples,
      draw,
      rows: perClass.flatMap((rows) => [...random.permutation(rows.length)].slice(0, samples).map((at) => rows[at]!)),
    })),
  );
  choices.push({ samples: null, draw: 0, rows: all });
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
  const rows = Array.from({ length: record.n }, (_, row) => row).filter((row) => among(record.labels[row]!));
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
  const groups = new Map<string, OnlineMeasure[]>();
  for (const one of measures) {
    const key = `${one.samples} ${one.exit} ${one.predictFrom}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].map((own) => {
    const { samples, exit, macsFraction, predictFrom } = own[0]!;
    const bySeed = new Map(own.map(({ seed, before }) => [seed, before]));
    const place = { samples, exit, macsFraction, predictFrom };
    return {
      ...label,
      ...place,
      old: spread(own.map(({ old }) => old)),
      before: spread([...bySeed.values()]),
      fresh: spread(own.map(({ fresh }) => fresh)),
      seeds: bySeed.size,
      draws: own.length / bySeed.size,
    };
  });
}
