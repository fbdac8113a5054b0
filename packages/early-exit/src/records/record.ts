import { checkArguments, InputError } from "@exitkit/core-gpu";

/** The prediction of a sample that was turned away, and the label of a sample of no known class. */
export const REJECTED = -1;

/**
 * What an exit answers, and what leaves at it: a `sample` (a picture, a sound, a row) as a whole, each `pixel` of it or each
 * `token` of it.
 */
export type Unit = "sample" | "pixel" | "token";

/**
 * What every exit said about every unit of a labelled data set, early-exit decisions apart: enough to replay any
 * thresholds without running the network again. n units, e exits; the last exit is the full network. {@link unitRecord} makes one
 * of answers of any shape.
 *
 * Recorded of a model that lets the most confident exit answer where none is sure (`toExitModel`'s `whenNoneIsSure`), the last row
 * holds that fallback's answers, not the plain network's. What is said of "the full network" then means the fallback, here and in
 * all that reads a record: agreement, accuracy lost, and the risks of `calibrate`, which takes the network's own answers as `reference`.
 */
export interface ExitRecord {
  /** Names of the e exits in order; the last is the full network. */
  readonly exits: readonly string[];
  /** Number of units. */
  readonly n: number;
  /** What the n are. Default `sample`. */
  readonly unit?: Unit;
  /**
   * `[n]` which frame, document or sample each unit is a part of, ≥ 0: units with the same number belong together. Only groups, not
   * units, are independent draws: what `calibrate` guarantees is about them. Default: every unit is one.
   */
  readonly groups?: Int32Array;
  /** `[e][n]`: how sure each exit is, in [0, 1], as float32: the numbers a running network compares. */
  readonly confidences: readonly Float32Array[];
  /** `[e][n]`: the class each exit answers; {@link REJECTED} where it turns the sample away. */
  readonly predictions: readonly Int32Array[];
  /** `[n]`: the true class; {@link REJECTED} for a sample of no known class, which rejecting answers rightly. */
  readonly labels: Int32Array;
}

/** What a record says of its units beside their answers, to be spread into one made from it. */
export function unitsOf({ unit, groups }: ExitRecord): Pick<ExitRecord, "unit" | "groups"> {
  return { ...(unit === undefined ? {} : { unit }), ...(groups === undefined ? {} : { groups }) };
}

const UNITS: readonly Unit[] = ["sample", "pixel", "token"];

/** What is looked at where no record was given. */
const NO_RECORD = {} as ExitRecord;

/** Rounding of a float32 softmax may leave [0, 1] by this much. */
const SLACK = 1e-3;

/** Whether a number can be a confidence: in [0, 1] but for rounding. NaN cannot. */
export function isConfidence(value: number): boolean {
  return value >= -SLACK && value <= 1 + SLACK;
}

/**
 * Checks a record: lengths, numbers of rows, confidences in [0, 1] (to within 0.001 of rounding) and never NaN, labels
 * and predictions at least 0, or {@link REJECTED}.
 *
 * @param caller The public function that was handed the record; it begins the error's message.
 * @throws InputError naming the first thing that is wrong, with exit and sample.
 */
export function checkRecord(caller: string, record: ExitRecord): void {
  checkArguments("early-exit.checkRecord", { caller: [caller, "a string"] });
  const { exits, n, confidences, predictions, labels, unit = "sample", groups } = isObject(record) ? record : NO_RECORD;
  if (!Array.isArray(exits) || !Array.isArray(confidences) || !Array.isArray(predictions)) {
    const expectation = "a record must be { exits, n, confidences, predictions, labels }";
    throw new InputError(caller, expectation, describe(record), "Make one with recordExits or unitRecord.");
  }
  const e = exits.length;
  if (!UNITS.includes(unit)) throw new InputError(caller, `a record's unit is ${UNITS.join(", ")}`, String(unit));
  if (!Number.isSafeInteger(n) || n < 1) {
    throw new InputError(caller, `a record needs at least one ${unit}, n ≥ 1`, `n = ${n}`);
  }
  if (groups !== undefined) {
    checkClasses(caller, "groups", groups, n, unit);
    const none = groups.indexOf(REJECTED);
    if (none >= 0) throw new InputError(caller, "groups must be numbers ≥ 0", `−1 at ${unit} ${none}`);
  }
  if (e < 1) throw new InputError(caller, "a record needs at least one exit, the full network", "none");
  const repeated = exits.find((name, index) => exits.indexOf(name) !== index);
  if (repeated !== undefined) throw new InputError(caller, "exit names must differ", `"${repeated}" twice`);
  if (confidences.length !== e || predictions.length !== e) {
    throw new InputError(
      caller,
      `confidences and predictions must have one row for each of the ${e} exits`,
      `${confidences.length} and ${predictions.length} rows`,
    );
  }
  checkClasses(caller, "labels", labels, n, unit);
  for (let j = 0; j < e; j++) {
    checkClasses(caller, `predictions of exit "${exits[j]}"`, predictions[j]!, n, unit);
    const row = confidences[j]!;
    if (!(row instanceof Float32Array) || row.length !== n) {
      throw new InputError(
        caller,
        `confidences of exit "${exits[j]}" must be a Float32Array of ${n}`,
        describe(row),
        "A running network compares float32; convert with Float32Array.from.",
      );
    }
    const bad = row.findIndex((value) => !isConfidence(value));
    if (bad >= 0) {
      throw new InputError(
        caller,
        `confidences of exit "${exits[j]}" must lie in [0, 1]`,
        `${row[bad]} at ${unit} ${bad}`,
      );
    }
  }
}

/** Refuses what are not n classes or −1. */
export function checkClasses(
  caller: string,
  name: string,
  classes: Int32Array,
  n: number,
  unit: Unit = "sample",
): void {
  if (!(classes instanceof Int32Array) || classes.length !== n) {
    throw new InputError(caller, `${name} must be an Int32Array of ${n}`, describe(classes));
  }
  const bad = classes.findIndex((value) => value < REJECTED);
  if (bad >= 0) {
    throw new InputError(
      caller,
      `${name} must be class indices ≥ 0, or −1 for rejected or unknown ones`,
      `${classes[bad]} at ${unit} ${bad}`,
    );
  }
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null;
}

function describe(value: unknown): string {
  if (ArrayBuffer.isView(value) && "length" in value) return `a ${value.constructor.name} of ${value.length}`;
  return Array.isArray(value) ? `a plain array of ${value.length}` : String(value);
}

/**
 * The record of some of its units, in the order given; an index may come twice (bootstrap samples). Units stay in their groups.
 *
 * @throws InputError on a bad record, no indices, or an index outside 0..n−1.
 */
export function selectRows(record: ExitRecord, indices: ArrayLike<number>): ExitRecord {
  const caller = "early-exit.selectRows";
  checkRecord(caller, record);
  checkIndices(caller, indices, record.n, record.unit ?? "sample");
  const pick = <T extends Float32Array | Int32Array>(row: T): T => {
    const picked = new (row.constructor as new (length: number) => T)(indices.length);
    for (let i = 0; i < indices.length; i++) picked[i] = row[indices[i]!]!;
    return picked;
  };
  return {
    ...unitsOf(record),
    ...(record.groups === undefined ? {} : { groups: pick(record.groups) }),
    exits: record.exits,
    n: indices.length,
    confidences: record.confidences.map(pick),
    predictions: record.predictions.map(pick),
    labels: pick(record.labels),
  };
}

/**
 * The record with only some of its exits, for asking "what if this exit were not there?". The rows are shared, not copied.
 *
 * @param indices Exit indices, increasing, ending in the full network (e − 1).
 * @throws InputError on a bad record or when the indices do not increase or do not end in e − 1.
 */
export function selectExits(record: ExitRecord, indices: readonly number[]): ExitRecord {
  const caller = "early-exit.selectExits";
  checkRecord(caller, record);
  checkIndices(caller, indices, record.exits.length, "exit");
  const increasing = indices.every((value, at) => at === 0 || value > indices[at - 1]!);
  if (!increasing || indices.at(-1) !== record.exits.length - 1) {
    throw new InputError(
      caller,
      `exit indices must increase and end in the full network, ${record.exits.length - 1}`,
      `[${indices.join(", ")}]`,
    );
  }
  return {
    ...record,
    exits: indices.map((j) => record.exits[j]!),
    confidences: indices.map((j) => record.confidences[j]!),
    predictions: indices.map((j) => record.predictions[j]!),
  };
}

function checkIndices(caller: string, indices: ArrayLike<number>, below: number, what: string): void {
  if (!(indices?.length >= 1)) throw new InputError(caller, `at least one ${what} index`, "none");
  for (let i = 0; i < indices.length; i++) {
    const index = indices[i]!;
    if (!Number.isSafeInteger(index) || index < 0 || index >= below) {
      throw new InputError(caller, `${what} indices must lie in 0..${below - 1}`, `${index}`);
    }
  }
}

/**
 * Puts the units of several records of the same exits behind one another, so that recording can be spread over
 * processes or machines. Groups of one record are none of another's: they are numbered anew.
 *
 * @throws InputError when there is none, one is bad, their exits or units differ, or only some have groups.
 */
export function concatRecords(records: readonly ExitRecord[]): ExitRecord {
  const caller = "early-exit.concatRecords";
  const first: ExitRecord | undefined = Array.isArray(records) ? records[0] : undefined;
  if (first === undefined) throw new InputError(caller, "at least one record", "none");
  for (const record of records) {
    checkRecord(caller, record);
    if (record.exits.length !== first.exits.length || record.exits.some((name, j) => name !== first.exits[j])) {
      throw new InputError(
        caller,
        `every record must have the exits ${first.exits.join(", ")}`,
        record.exits.join(", "),
      );
    }
    if (record.unit !== first.unit || (record.groups === undefined) !== (first.groups === undefined)) {
      const said = ({ unit = "sample", groups }: ExitRecord) => `${unit}s ${groups ? "in" : "without"} groups`;
      throw new InputError(caller, `every record must be of ${said(first)}`, said(record));
    }
  }
  const n = records.reduce((sum, record) => sum + record.n, 0);
  const join = <T extends Float32Array | Int32Array>(whole: T, rows: readonly T[]): T => {
    let at = 0;
    for (const row of rows) {
      whole.set(row, at);
      at += row.length;
    }
    return whole;
  };
  return {
    ...(first.unit === undefined ? {} : { unit: first.unit }),
    ...(first.groups === undefined ? {} : { groups: renumbered(records, n) }),
    exits: first.exits,
    n,
    confidences: first.exits.map((_, j) =>
      join(
        new Float32Array(n),
        records.map((r) => r.confidences[j]!),
      ),
    ),
    predictions: first.exits.map((_, j) =>
      join(
        new Int32Array(n),
        records.map((r) => r.predictions[j]!),
      ),
    ),
    labels: join(
      new Int32Array(n),
      records.map((r) => r.labels),
    ),
  };
}

/** `[n]`: the groups of all records, those of each behind the highest of those before it. */
function renumbered(records: readonly ExitRecord[], n: number): Int32Array {
  const all = new Int32Array(n);
  let at = 0;
  let next = 0;
  for (const { groups } of records) {
    let highest = -1;
    for (const group of groups!) {
      all[at++] = next + group;
      if (group > highest) highest = group;
    }
    next += highest + 1;
  }
  return all;
}
