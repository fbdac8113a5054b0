import { InputError, parseOptions, sizeOf, type Tensor } from "@exitkit/core-gpu";
import { z } from "zod";
import { type Labels, labelShape, labelsOf } from "./labels.ts";
import { checkRecord, type ExitRecord, type Unit } from "./record.ts";

/** What one exit said about every unit. */
export interface UnitAnswers {
  /** Name of the exit. */
  readonly name: string;
  /** How sure it is, in [0, 1], float32: `[n, h, w]` pixels, `[n, t]` tokens, any shape, or its elements in row-major order. */
  readonly confidences: Float32Array | Tensor;
  /** What it answers, of the same shape. */
  readonly predictions: Labels;
}

/** Options of {@link unitRecord}. */
export interface UnitRecordOptions {
  /** What each element of the arrays is about. */
  readonly unit: Unit;
  /** In order; the last is the full network. */
  readonly exits: readonly UnitAnswers[];
  /** The true classes, of the answers' shape. */
  readonly labels: Labels;
  /**
   * Which frame or document each unit is a part of, of the answers' shape. Default: its index along the first dimension, where the
   * labels are a tensor of several; units of one dimension are a group each, which pixels and tokens must not be by default.
   */
  readonly groups?: Labels;
  /** Units of these labels are left out: `255` where a data set marks pixels that do not count. Default: none. */
  readonly ignore?: number | readonly number[];
}

const object = z.custom<object>((value) => typeof value === "object" && value !== null, "must be arrays or tensors");

const schema = z.strictObject({
  unit: z.enum(["sample", "pixel", "token"]),
  exits: z.array(z.strictObject({ name: z.string().min(1), confidences: object, predictions: object })).min(1),
  labels: object,
  groups: object.optional(),
  ignore: z.union([z.int(), z.array(z.int()).readonly()]).optional(),
});

/**
 * A record of units of any kind: what every exit said about each pixel of pictures, each token of texts, or each sample, from
 * arrays or tensors of any shape. All that reads a record (`replay`, `solveThresholds`, `frontier`, `calibrate`, ...) then takes
 * units as it takes samples; costs are MACs a unit.
 *
 * Arrays of the right type are kept, not copied, unless units are left out. Records of several batches are joined by
 * `concatRecords`.
 *
 * @throws InputError on lengths that differ, confidences that are not float32 in [0, 1], labels that are not class indices,
 * pixels or tokens without groups, or where every unit is left out.
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { replay, unitRecord } from "@exitkit/early-exit";
 * const shape = [1, 2, 2]; // one picture of 2×2 pixels
 * const record = unitRecord({
 *   unit: "pixel",
 *   exits: [
 *     { name: "early", confidences: tensor("float32", shape, [0.9, 0.9, 0.4, 0.9]), predictions: tensor("int32", shape, [1, 0, 0, 1]) },
 *     { name: "full", confidences: tensor("float32", shape, [1, 1, 1, 1]), predictions: tensor("int32", shape, [1, 0, 1, 1]) },
 *   ],
 *   labels: tensor("uint8", shape, [1, 0, 1, 255]),
 *   ignore: 255,
 * });
 * const { accuracy, meanCost } = replay(record, [0.5], { exits: [30, 60], full: 60 });
 * console.assert(record.n === 3 && accuracy === 1 && meanCost === 40);
 * ```
 */
export function unitRecord(options: UnitRecordOptions): ExitRecord {
  const caller = "early-exit.unitRecord";
  parseOptions(caller, schema, options);
  return recordOfUnits(caller, options);
}

/** {@link unitRecord} of options that were checked before. */
export function recordOfUnits(caller: string, options: UnitRecordOptions): ExitRecord {
  const { unit, exits } = options;
  const labels = labelsOf(caller, "labels", options.labels);
  const all = labels.length;
  const groups = groupsOf(caller, options, all);
  const answers = exits.map(({ name, confidences, predictions }) => ({
    confidences: alike(caller, confidencesOf(caller, name, confidences), all, `confidences of exit "${name}"`),
    predictions: alike(
      caller,
      labelsOf(caller, `predictions of exit "${name}"`, predictions),
      all,
      `predictions of "${name}"`,
    ),
  }));
  const kept = keptUnits(labels, options.ignore);
  const pick = <T extends Float32Array | Int32Array>(row: T): T => {
    if (kept === null) return row;
    const picked = new (row.constructor as new (length: number) => T)(kept.length);
    for (let at = 0; at < kept.length; at++) picked[at] = row[kept[at]!]!;
    return picked;
  };
  const record: ExitRecord = {
    ...(unit === "sample" ? {} : { unit }),
    ...(groups === null ? {} : { groups: pick(groups) }),
    exits: exits.map(({ name }) => name),
    n: kept?.length ?? all,
    confidences: answers.map(({ confidences }) => pick(confidences)),
    predictions: answers.map(({ predictions }) => pick(predictions)),
    labels: pick(labels),
  };
  checkRecord(caller, record);
  return record;
}

function groupsOf(caller: string, { unit, groups, labels }: UnitRecordOptions, all: number): Int32Array | null {
  if (groups !== undefined) return alike(caller, labelsOf(caller, "groups", groups), all, "groups");
  const shape = labelShape(labels) ?? [all];
  if (shape.length > 1) {
    const each = sizeOf(shape.slice(1));
    return Int32Array.from({ length: all }, (_, at) => Math.floor(at / each));
  }
  if (unit === "sample") return null;
  const fix = "Pass groups, or labels as a tensor [n, ...] whose first dimension counts them.";
  throw new InputError(caller, `${unit}s must be told which frame or document they are a part of`, "no groups", fix);
}

function confidencesOf(caller: string, name: string, given: Float32Array | Tensor): Float32Array {
  const values = given instanceof Float32Array ? given : (given as Partial<Tensor>).data;
  if (values instanceof Float32Array) return values;
  const fix = "A running network compares float32; convert with Float32Array.from.";
  throw new InputError(
    caller,
    `confidences of exit "${name}" must be float32`,
    values?.constructor.name ?? "none",
    fix,
  );
}

function alike<T extends { readonly length: number }>(caller: string, values: T, all: number, name: string): T {
  if (values.length === all) return values;
  throw new InputError(caller, `${name} must be as many as labels, ${all}`, `${values.length}`);
}

/** Indices of the units that count; null where all do. */
export function keptUnits(labels: Int32Array, ignore: UnitRecordOptions["ignore"]): Int32Array | null {
  if (ignore === undefined) return null;
  const ignored = new Set([ignore].flat());
  const kept = new Int32Array(labels.length);
  let count = 0;
  for (let at = 0; at < labels.length; at++) if (!ignored.has(labels[at]!)) kept[count++] = at;
  return count === labels.length ? null : kept.subarray(0, count);
}
