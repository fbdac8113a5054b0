import { InputError, parseOptions, until } from "@exitkit/core-gpu";
import { z } from "zod";
import { checkStream } from "../frames/labelled-frames.ts";
import { checkLabelMap, IGNORE, type LabelMap } from "../frames/labels.ts";
import { checkLogits, type Logits } from "../frames/logits.ts";
import { type Coordinates, coordinatesOption, resized } from "../frames/resize-logits.ts";

/** What the exits say about labelled frames. */
export interface ExitLogits {
  /** [e] tensors [n, k, h, w] in the order of the exits, the last the full network's; the exits' grids may differ. */
  readonly logits: readonly Logits[];
  /** [n, h, w]. */
  readonly labels: LabelMap;
  /** What the labels are called in errors, e.g. their file. Default "labels". */
  readonly source?: string;
  /** What the frames were taken with or when: a camera, "night". Their sums are kept apart too. Default: none. */
  readonly group?: string;
}

/** Sums over the labelled pixels of some frames. */
interface ProbabilitySums {
  /** |S_k|: pixels of each class, [k]. */
  readonly counts: readonly number[];
  /** [e] of [k · k]: Σ over pixels of class k of softmax(logits), row-major by true class. */
  readonly sums: readonly (readonly number[])[];
}

/**
 * Sums of the exits' class probabilities over labelled pixels: all that class based thresholds need. Plain data that JSON keeps
 * exactly; partial results of shards add up by {@link mergeClassProbabilities}.
 */
export interface ClassProbabilities extends ProbabilitySums {
  /** k. */
  readonly classes: number;
  /** Whether confident pixels had been left out of the later exits' computation when these were recorded. */
  readonly masked: boolean;
  /** How logits were brought to the labels' size. */
  readonly coordinates: Coordinates;
  /** The same of the frames of each group; there are none where no batch named one. */
  readonly groups?: Readonly<Record<string, ProbabilitySums>>;
}

/** Options of {@link accumulateClassProbabilities}. */
export interface AccumulateOptions {
  /** k ≥ 2: the classes that logits have and labels name. */
  readonly classes: number;
  /** Label of pixels that count nowhere. Default 255. */
  readonly ignore?: number;
  /** Where the pixels of the labels lie on the grid of the logits. Default `halfPixel`. */
  readonly coordinates?: Coordinates;
  /** Whether confident pixels were left out when the logits were computed; kept with the result. Default false. */
  readonly masked?: boolean;
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed. */
  readonly signal?: AbortSignal;
  /** Called after every batch with the number of frames so far. */
  readonly onProgress?: (frames: number) => void;
}

const schema = z.strictObject({
  classes: z.int().min(2).max(256),
  ignore: z.int().default(IGNORE),
  coordinates: coordinatesOption,
  masked: z.boolean().default(false),
  signal: z.instanceof(AbortSignal).optional(),
  onProgress: z
    .custom<(frames: number) => void>((value) => typeof value === "function", "must be a function")
    .optional(),
});

/**
 * One streaming pass over labelled frames: for every exit n and class k the sum of the probabilities φ_n = softmax(logits) over
 * the pixels S_k of that class, so that p_{n,k} = (1/|S_k|) Σ_{S_k} φ_n. Logits are resized to the labels' size (bilinear)
 * and softmax comes afterwards; sums are float64. Memory does not grow with the number of frames.
 *
 * @param frames Batches of logits and labels, of any sizes.
 * @throws InputError on no frames, batches whose exits, classes or numbers of frames do not fit, logits that are not finite,
 * label ids that are neither a class nor `ignore` (naming file and value), or unknown options.
 * Source: CBT, arXiv 2210.15621, step 1 [S: slides]. Differs: whether exits were recorded with masks is the caller's choice, and
 * recorded; the paper does not say [?].
 * @example
 * ```ts
 * import { tensor } from "@exitkit/core-gpu";
 * import { accumulateClassProbabilities } from "@exitkit/cbt";
 * // Two pixels, two classes, one exit that is sure and one that is not; the second pixel has no label.
 * const logits = [tensor("float32", [1, 2, 1, 2], [9, 0, 0, 0]), tensor("float32", [1, 2, 1, 2])];
 * const labels = tensor("uint8", [1, 1, 2], [0, 255]);
 * const { counts, sums } = await accumulateClassProbabilities([{ logits, labels }], { classes: 2 });
 * console.assert(counts.join() === "1,0" && sums[0]![0]! > 0.99 && sums[1]![0] === 0.5);
 * ```
 */
export async function accumulateClassProbabilities(
  frames: AsyncIterable<ExitLogits> | Iterable<ExitLogits>,
  options: AccumulateOptions,
): Promise<ClassProbabilities> {
  const caller = "cbt.accumulateClassProbabilities";
  const { classes, ignore, coordinates, masked, signal, onProgress } = parseOptions(caller, schema, options);
  checkStream(caller, frames);
  let all: OpenSums | undefined;
  const groups = new Map<string, OpenSums>();
  let seen = 0;
  for await (const batch of until(signal, frames)) {
    checkBatch(caller, batch, classes, ignore, all?.sums.length);
    all ??= emptySums(classes, batch.logits.length);
    const parts = [all];
    if (batch.group !== undefined) {
      if (!groups.has(batch.group)) groups.set(batch.group, emptySums(classes, batch.logits.length));
      parts.push(groups.get(batch.group)!);
    }
    const { data, shape } = batch.labels;
    const size = shape.slice(1) as [number, number];
    for (const id of data) if (id !== ignore) for (const { counts } of parts) counts[id]!++;
    batch.logits.forEach((logits, exit) => {
      const own = emptySums(classes, 1).sums[0]!;
      addProbabilities(own, resized(logits, size, coordinates), data, ignore);
      for (const { sums } of parts) for (let at = 0; at < own.length; at++) sums[exit]![at]! += own[at]!;
    });
    seen += shape[0]!;
    onProgress?.(seen);
  }
  if (all === undefined) throw new InputError(caller, "at least one batch of frames", "none", "Is the stream used up?");
  const named = Object.fromEntries([...groups].map(([name, own]) => [name, closed(own)]));
  return { classes, masked, coordinates, ...closed(all), ...(groups.size === 0 ? {} : { groups: named }) };
}

interface OpenSums {
  readonly counts: Float64Array;
  readonly sums: readonly Float64Array[];
}

function emptySums(classes: number, exits: number): OpenSums {
  const sums = Array.from({ length: exits }, () => new Float64Array(classes * classes));
  return { counts: new Float64Array(classes), sums };
}

function closed({ counts, sums }: OpenSums): ProbabilitySums {
  return { counts: [...counts], sums: sums.map((sum) => [...sum]) };
}

/** Refuses a batch that does not fit itself, the classes or the exits of those before it. */
export function checkBatch(caller: string, batch: ExitLogits, classes: number, ignore: number, exits?: number): void {
  const { logits, labels, source = "labels", group } = (batch ?? {}) as Partial<ExitLogits>;
  if (group !== undefined && typeof group !== "string") {
    throw new InputError(caller, "a batch's group must be a name", typeof group, 'E.g. group: "night".');
  }
  if (!Array.isArray(logits) || logits.length === 0 || (exits !== undefined && logits.length !== exits)) {
    const wanted = exits === undefined ? "one exit or more" : `${exits} exits, as those before it`;
    throw new InputError(caller, `every batch must have the logits of ${wanted}`, `${logits?.length ?? typeof logits}`);
  }
  checkLabelMap(caller, labels!, classes, ignore, source);
  logits.forEach((own: Logits, exit) => {
    checkLogits(caller, own, classes, `logits of exit ${exit}`);
    if (own.shape[0] === labels!.shape[0]) return;
    const expectation = `logits of exit ${exit} and ${source} must have equally many frames`;
    throw new InputError(caller, expectation, `${own.shape[0]} and ${labels!.shape[0]}`);
  });
}

function addProbabilities(
  sums: Float64Array,
  { data, shape }: Logits,
  labels: ArrayLike<number>,
  ignore: number,
): void {
  const [n, k, h, w] = shape as [number, number, number, number];
  const size = h * w;
  const exponentials = new Float64Array(k);
  for (let frame = 0; frame < n; frame++) {
    for (let i = 0; i < size; i++) {
      const label = labels[frame * size + i]!;
      if (label === ignore) continue;
      const first = frame * k * size + i;
      let largest = Number.NEGATIVE_INFINITY;
      for (let c = 0; c < k; c++) largest = Math.max(largest, data[first + c * size]!);
      let total = 0;
      for (let c = 0; c < k; c++) total += exponentials[c] = Math.exp(data[first + c * size]! - largest);
      for (let c = 0; c < k; c++) sums[label * k + c]! += exponentials[c]! / total;
    }
  }
}

/**
 * Adds the partial results of two shards: what one pass over both would have given, up to the rounding of float64 sums.
 *
 * @throws InputError when the shards differ in classes, number of exits, masks or coordinates.
 */
export function mergeClassProbabilities(a: ClassProbabilities, b: ClassProbabilities): ClassProbabilities {
  const caller = "cbt.mergeClassProbabilities";
  checkClassProbabilities(caller, a);
  checkClassProbabilities(caller, b);
  const describe = ({ classes, sums, masked, coordinates }: ClassProbabilities) =>
    `${classes} classes, ${sums.length} exits, ${masked ? "masked" : "not masked"}, ${coordinates}`;
  if (describe(a) !== describe(b)) {
    throw new InputError(caller, "both shards must have been recorded alike", `${describe(a)} and ${describe(b)}`);
  }
  const groups = { ...a.groups };
  for (const [name, own] of Object.entries(b.groups ?? {})) {
    groups[name] = groups[name] === undefined ? own : addedSums(groups[name], own);
  }
  return { ...a, ...addedSums(a, b), ...(Object.keys(groups).length === 0 ? {} : { groups }) };
}

function addedSums(a: ProbabilitySums, b: ProbabilitySums): ProbabilitySums {
  const added = (left: readonly number[], right: readonly number[]) => left.map((value, at) => value + right[at]!);
  return { counts: added(a.counts, b.counts), sums: a.sums.map((sum, exit) => added(sum, b.sums[exit]!)) };
}

/** Refuses what {@link accumulateClassProbabilities} did not give, as a file of another kind would be. */
export function checkClassProbabilities(caller: string, value: ClassProbabilities): void {
  const { classes, counts, sums, groups = {} } = (value ?? {}) as Partial<ClassProbabilities>;
  const numbers = (list: unknown, length: number) =>
    Array.isArray(list) && list.length === length && list.every((entry) => Number.isFinite(entry) && entry >= 0);
  const whole = Number.isSafeInteger(classes) && classes! >= 2 && numbers(counts, classes!);
  const fits = (own: unknown) =>
    Array.isArray(own) && own.length > 0 && own.every((sum) => numbers(sum, classes! ** 2));
  const grouped = typeof groups === "object" && groups !== null ? Object.values(groups) : [null];
  const alike = grouped.every(
    (own) => fits(own?.sums) && own!.sums.length === sums?.length && numbers(own!.counts, classes!),
  );
  if (whole && fits(sums) && alike) return;
  const actual =
    value === null || typeof value !== "object"
      ? String(value)
      : `an object with ${Object.keys(value).join(", ") || "nothing"}`;
  throw new InputError(caller, "class probabilities must be those that accumulateClassProbabilities gives", actual);
}
