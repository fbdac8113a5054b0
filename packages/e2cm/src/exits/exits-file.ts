import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  checkArguments,
  InputError,
  parseOptions,
  readSafetensors,
  type Tensor,
  tensor,
  writeFileAtomic,
  writeSafetensors,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { DISTANCE_RULES, type DistanceRule } from "../decisions/distances.ts";
import { rejectionSchema } from "../decisions/rejection.ts";
import { HOLDS } from "../network/network.ts";
import type { FittedExit, OutputExit } from "./exits.ts";
import { FITTED, type FittedExits, outputsOf } from "./fitted-exits.ts";
import { dequantise, matrixOf, quantise } from "./quantise.ts";

const map = z.strictObject({
  kind: z.enum(["full", "pooled", "moments"]),
  shape: z.array(z.int().min(1)),
  grid: z.int().min(0),
  stripes: z.int().min(0),
  d: z.int().min(1),
  macs: z.number().min(0),
});

const point = z.strictObject({
  thresholds: z.array(z.number()),
  accuracy: z.number(),
  meanCost: z.number(),
  costFraction: z.number(),
});

/** Older files call the calibration samples pictures. */
function withSamples(calibration: unknown): unknown {
  if (typeof calibration !== "object" || calibration === null || !("pictures" in calibration)) return calibration;
  const { pictures: samples, ...rest } = calibration;
  return { samples, ...rest };
}

const common = {
  tensors: z.strictObject({
    // A name in the same folder, not a way to another.
    file: z.string().regex(/^[^/\\\\]+\.safetensors$/),
    sha256: z.string(),
  }),
  modelHash: z.string(),
  /** Absent in files of older versions. */
  scoresFrom: z
    .strictObject({ output: z.string(), holds: z.enum(HOLDS) })
    .nullable()
    .default(null),
  classes: z.int().min(2),
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]),
  predictFrom: z.enum(["raw", "normalised"]),
  precision: z.enum(["float32", "int8"]),
  costs: z.strictObject({ exits: z.array(z.number()), full: z.number() }),
  operatingPoints: z.array(point),
  calibration: z.preprocess(
    withSamples,
    z
      .strictObject({
        samples: z.int(),
        fullAccuracy: z.number(),
        heldOut: z.boolean(),
        notes: z.array(z.string()).default([]),
      })
      .nullable(),
  ),
};

/** Exits as version 1 wrote them: nothing that rejection or further classes need. */
const firstExit = z.discriminatedUnion("metric", [
  z.strictObject({ metric: z.literal("euclidean"), tap: z.string(), map }),
  z.strictObject({ metric: z.literal("sharedCovariance"), tap: z.string(), map, shrinkage: z.number() }),
]);

const first = z.strictObject({
  format: z.literal("exitkit/e2cm/1"),
  ...common,
  nearestMeanLast: z.boolean(),
  exits: z.array(firstExit),
});

const means = z.discriminatedUnion("metric", [
  z.strictObject({ metric: z.literal("euclidean"), meanSquare: z.number().nullable() }),
  z.strictObject({ metric: z.literal("sharedCovariance"), shrinkage: z.number(), space: z.boolean() }),
]);

const second = z.strictObject({
  format: z.literal("exitkit/e2cm/2"),
  ...common,
  last: z.enum(["head", "nearestMean"]),
  /** The network's own outputs: how many, and the class means of them. */
  output: z.strictObject({ scores: z.int().min(2), means }).nullable(),
  exits: z.array(z.strictObject({ tap: z.string(), map, means })),
  counts: z.array(z.number().min(0)).nullable(),
  rejection: rejectionSchema.nullable(),
  /** Files written before there was a guarantee have none. */
  guarded: z
    .strictObject({
      delta: z.number().gt(0).lt(1),
      samples: z.int().min(1),
      points: z.array(point.extend({ lossBound: z.number().min(0).max(1) })),
    })
    .nullable()
    .default(null),
});

type Means = z.output<typeof means>;
type Header = z.output<typeof second>;

/** What a file of version 1 says, in the words of version 2. */
function upgraded({ nearestMeanLast, exits, format, ...rest }: z.output<typeof first>): Header {
  return {
    ...rest,
    format: "exitkit/e2cm/2",
    last: nearestMeanLast ? "nearestMean" : "head",
    output: nearestMeanLast ? { scores: rest.classes, means: { metric: "euclidean", meanSquare: null } } : null,
    exits: exits.map(({ tap, map: featureMap, ...own }) => ({
      tap,
      map: featureMap,
      means: own.metric === "euclidean" ? { ...own, meanSquare: null } : { ...own, space: false },
    })),
    counts: null,
    rejection: null,
    guarded: null,
  };
}

/**
 * Saves fitted exits: `<path>.json` says what they are and names the file beside it that holds the numbers,
 * `<path>.<hash>.safetensors`. The JSON is replaced as a whole and last, so that at every moment, killed or read or saved by
 * others meanwhile, there is the older pair or the newer one; tensors that no JSON names are removed by a later save.
 *
 * @param options.precision `float32` (default), or `int8`: means or weights in a quarter of the bytes.
 * @throws InputError on an unknown option, or when a file cannot be written; an older pair is then as it was, and no
 * partial file is left.
 * @example
 * ```ts
 * import { readModelFile, readSafetensorsFile, rows } from "@exitkit/core-gpu";
 * import { fit, loadExits, saveExits } from "@exitkit/e2cm";
 * const { train, trainLabels } = (await readSafetensorsFile("pictures.safetensors")).tensors;
 * const labels = trainLabels!.data as Int32Array;
 * const batches = (from: number, to: number) => [{ x: rows(train!, from, to), y: labels.subarray(from, to) }];
 * const model = await readModelFile("network.onnx");
 * const fitted = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240) });
 * await saveExits("exits", fitted); // exits.json and exits.<hash>.safetensors
 * console.assert((await loadExits("exits")).modelHash === fitted.modelHash);
 * ```
 */
export async function saveExits(
  path: string,
  fitted: FittedExits,
  options: { readonly precision?: "float32" | "int8" } = {},
): Promise<void> {
  checkArguments("e2cm.saveExits", { path: [path, "a string"], fitted: [fitted, FITTED] });
  const schema = z.strictObject({ precision: z.enum(["float32", "int8"]).default("float32") });
  const { precision } = parseOptions("e2cm.saveExits", schema, options);
  const { output, exits } = fitted;
  const tensors: Record<string, Tensor> = Object.assign(
    {},
    ...exits.map((exit, index) => tensorsOf(`${index}`, exit, fitted.classes, precision)),
    output === null ? {} : tensorsOf("last", output, fitted.classes, "float32"),
  );
  const bytes = writeSafetensors(tensors);
  const hash = sha256(bytes);
  const file = `${basename(path)}.${hash.slice(0, 16)}.safetensors`;
  const { modelHash, scoresFrom, classes, rule, predictFrom, last, counts, rejection, calibration, costs } = fitted;
  const { operatingPoints, guarded } = fitted;
  const json: Header = {
    format: "exitkit/e2cm/2",
    tensors: { file, sha256: hash },
    modelHash,
    scoresFrom: scoresFrom === null ? null : { ...scoresFrom },
    classes,
    rule,
    predictFrom,
    last,
    output: output === null ? null : { scores: outputsOf(fitted), means: meansOf(output) },
    precision,
    exits: exits.map((exit) => ({
      tap: exit.tap,
      map: { ...exit.map, shape: [...exit.map.shape] },
      means: meansOf(exit),
    })),
    counts: counts === null ? null : [...counts],
    rejection: rejection === null ? null : { ...rejection, thresholds: [...rejection.thresholds] },
    costs: { exits: [...costs.exits], full: costs.full },
    operatingPoints: operatingPoints.map((point) => ({ ...point, thresholds: [...point.thresholds] })),
    guarded:
      guarded === null
        ? null
        : { ...guarded, points: guarded.points.map((one) => ({ ...one, thresholds: [...one.thresholds] })) },
    calibration: calibration === null ? null : { ...calibration, notes: [...calibration.notes] },
  };
  await writePair(path, file, bytes, `${JSON.stringify(json, null, 1)}\n`);
}

function meansOf(exit: OutputExit): Means {
  if (exit.metric === "euclidean") return { metric: exit.metric, meanSquare: exit.meanSquare };
  return { metric: exit.metric, shrinkage: exit.shrinkage, space: exit.space !== null };
}

/** The numbers of one exit, their names beginning with its place. */
function tensorsOf(
  place: string,
  exit: OutputExit,
  k: number,
  precision: "float32" | "int8",
): Readonly<Record<string, Tensor>> {
  const { matrix, classOf } = matrixOf(exit);
  const d = matrix.length / k;
  const shape = exit.metric === "euclidean" ? [k, d] : [d, k];
  const tensors: Record<string, Tensor> = {};
  if (precision === "float32") {
    tensors[`${place}.matrix`] = tensor("float32", shape, matrix);
  } else {
    const { codes, scales } = quantise(matrix, k, classOf);
    tensors[`${place}.codes`] = tensor("uint8", shape, codes);
    tensors[`${place}.scales`] = tensor("float32", [k], scales);
  }
  tensors[`${place}.vector`] = tensor("float32", [k], exit.metric === "euclidean" ? exit.distances : exit.bias);
  if (exit.metric === "sharedCovariance" && exit.space !== null) {
    tensors[`${place}.axes`] = tensor("float32", [k, k - 1], exit.space.axes);
    tensors[`${place}.shift`] = tensor("float32", [k - 1], exit.space.shift);
    tensors[`${place}.centres`] = tensor("float32", [k, k - 1], exit.space.centres);
  }
  return tensors;
}

/**
 * Writes a pair with one commit point: the tensors go into a file of their own hash's name, which replaces nothing; then the
 * JSON that names it is renamed over the older one. Whatever is killed when, and however many save at once, the JSON that is
 * there names tensors that are there. What no JSON names any more is swept afterwards.
 */
async function writePair(path: string, file: string, tensors: Uint8Array, json: string): Promise<void> {
  const at = join(dirname(path), file);
  const before = await namedIn(`${path}.json`);
  const there = await stat(at).then(
    () => true,
    () => false,
  );
  // Written anew even where it is there: a file just written is not swept by another saver.
  await writeFileAtomic(at, tensors);
  try {
    await writeFileAtomic(`${path}.json`, json);
  } catch (error) {
    if (!there) await rm(at, { force: true });
    throw error;
  }
  await sweep(path, new Set([file, await namedIn(`${path}.json`)]), before);
}

/** The tensors' file that a JSON names; null where it names none. */
async function namedIn(path: string): Promise<string | null> {
  try {
    const json: unknown = JSON.parse(await readFile(path, "utf8"));
    const file = (json as { tensors?: { file?: unknown } } | null)?.tensors?.file;
    return typeof file === "string" ? file : null;
  } catch {
    return null;
  }
}

/** Long enough for another saver between its two writes, and for a reader between its two reads. */
const SWEEP_AFTER_MS = 60_000;

/**
 * Removes what earlier saves at this path left: tensors that are not kept, and waiting files of savers that were killed.
 *
 * @param before What the JSON that was replaced named; older versions gave it a name without a hash.
 */
async function sweep(path: string, kept: ReadonlySet<string | null>, before: string | null): Promise<void> {
  const [folder, name] = [dirname(path), basename(path)];
  const waiting = `.${`${name}.json`.slice(0, 24)}.`;
  const own = (entry: string) =>
    entry === before ||
    (entry.startsWith(`${name}.`) && /^[0-9a-f]{16}\.safetensors$/.test(entry.slice(name.length + 1))) ||
    ((entry.startsWith(waiting) || entry.startsWith(`.${name}.`.slice(0, 25))) && /\.[0-9a-f]{12}\.tmp$/.test(entry));
  for (const entry of await readdir(folder)) {
    if (kept.has(entry) || !own(entry)) continue;
    const at = join(folder, entry);
    try {
      if (Date.now() - (await stat(at)).mtimeMs > SWEEP_AFTER_MS) await rm(at, { force: true });
    } catch {
      // Another saver was faster.
    }
  }
}

/**
 * Loads what {@link saveExits} saved. `openClassifier` checks that they belong to the model they are used with.
 *
 * Files of version 1 load too: they answer as they did, and lack what `reject` and `updateClasses` need.
 *
 * @throws InputError on a file that is missing, truncated, of another format, or not the one its partner was saved with.
 */
export async function loadExits(path: string): Promise<FittedExits> {
  const caller = "e2cm.loadExits";
  checkArguments(caller, { path: [path, "a string"] });
  const { json, from, bytes } = await readPair(caller, path);
  if (sha256(bytes) !== json.tensors.sha256) {
    throw new InputError(
      caller,
      `${from} must have the sha256 ${json.tensors.sha256.slice(0, 16)}… that ${path}.json names`,
      `${sha256(bytes).slice(0, 16)}…`,
      "One of the two files was changed or belongs to another save: save again.",
    );
  }
  const { tensors } = readSafetensors(bytes, { source: from });
  const take = (name: string, dtype: "float32" | "uint8", length: number): Float32Array | Uint8Array => {
    const found = tensors[name];
    if (found?.dtype === dtype && found.data.length === length) return found.data as Float32Array | Uint8Array;
    const actual = found === undefined ? "none" : `${found.dtype} [${found.shape.join(", ")}]`;
    throw new InputError(caller, `${from} must hold ${dtype} "${name}" with ${length} elements`, actual);
  };
  const floats = (name: string, length: number) => take(name, "float32", length) as Float32Array;
  const k = json.classes;
  const numbersOf = (place: string, own: Means, d: number, precision: "float32" | "int8"): OutputExit => {
    const size = d * k;
    const classOf = own.metric === "euclidean" ? (at: number) => Math.floor(at / d) : (at: number) => at % k;
    const matrix =
      precision === "float32"
        ? floats(`${place}.matrix`, size)
        : dequantise(
            { codes: take(`${place}.codes`, "uint8", size) as Uint8Array, scales: floats(`${place}.scales`, k) },
            classOf,
          );
    const vector = floats(`${place}.vector`, k);
    if (own.metric === "euclidean") return { ...own, means: matrix, distances: vector };
    const space = own.space
      ? {
          axes: floats(`${place}.axes`, k * (k - 1)),
          shift: floats(`${place}.shift`, k - 1),
          centres: floats(`${place}.centres`, k * (k - 1)),
        }
      : null;
    return { ...own, weights: matrix, bias: vector, space };
  };
  const exits = json.exits.map(
    ({ tap, map: featureMap, means: own }, index): FittedExit => ({
      ...numbersOf(`${index}`, own, featureMap.d, json.precision),
      tap,
      map: featureMap,
    }),
  );
  // Version 1 called these otherwise.
  const renamed: Readonly<Record<string, string>> = { "last.matrix": "last.means", "last.vector": "last.distances" };
  for (const [now, before] of Object.entries(renamed)) {
    const old = tensors[before];
    if (old !== undefined) tensors[now] = old;
  }
  const output = json.output === null ? null : numbersOf("last", json.output.means, json.output.scores, "float32");
  const { format: _, tensors: __, precision: ___, ...plain } = json;
  return { ...plain, output, exits };
}

/** The JSON and the tensors it names. Where another save replaced both between the two reads, the newer pair. */
async function readPair(caller: string, path: string): Promise<{ json: Header; from: string; bytes: Uint8Array }> {
  for (let tries = 1; ; tries++) {
    const json = readHeader(caller, `${path}.json`, await readBytes(caller, `${path}.json`));
    const from = join(dirname(path), json.tensors.file);
    try {
      return { json, from, bytes: await readFile(from) };
    } catch (error) {
      const replaced = (error as NodeJS.ErrnoException).code === "ENOENT" && tries < 5;
      if (!replaced || (await namedIn(`${path}.json`)) === json.tensors.file) throw cannot(caller, "read", from, error);
    }
  }
}

function readHeader(caller: string, path: string, bytes: Uint8Array): Header {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new InputError(caller, `${path} must be JSON`, (error as Error).message, "Is the file complete?", error);
  }
  const parsed = z.discriminatedUnion("format", [first, second]).safeParse(value);
  const issue = parsed.error?.issues[0];
  const described = parsed.success
    ? parsed.data.format === "exitkit/e2cm/1"
      ? upgraded(parsed.data)
      : parsed.data
    : undefined;
  const wrong = described === undefined ? `${issue!.path.join(".")}: ${issue!.message}` : misfit(described);
  if (described !== undefined && wrong === undefined) return described;
  const expectation = `${path} must describe saved exits (exitkit/e2cm/2, or 1)`;
  throw new InputError(caller, expectation, wrong ?? "", "Save them again.");
}

/** The first part of a header whose length does not fit its exits. */
function misfit(header: Header): string | undefined {
  const { classes, exits, costs, operatingPoints, guarded, counts, rejection, last, output } = header;
  if (costs.exits.length !== exits.length + 1)
    return `costs.exits: ${costs.exits.length} for ${exits.length} early exits`;
  if (counts !== null && counts.length !== classes) return `counts: ${counts.length} for ${classes} classes`;
  if (output === null && (last === "nearestMean" || rejection?.by === "distance")) return "output: none";
  if (rejection !== null && rejection.thresholds.length !== exits.length + 1)
    return `rejection.thresholds: ${rejection.thresholds.length} for ${exits.length + 1} exits`;
  const misses = (points: Header["operatingPoints"]) =>
    points.findIndex(({ thresholds }) => thresholds.length !== exits.length);
  for (const [name, points] of Object.entries({ operatingPoints, "guarded.points": guarded?.points ?? [] })) {
    const at = misses(points);
    if (at >= 0) return `${name}.${at}: not ${exits.length} thresholds`;
  }
  return undefined;
}

async function readBytes(caller: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw cannot(caller, "read", path, error);
  }
}

function cannot(caller: string, verb: string, path: string, error: unknown): InputError {
  return new InputError(
    caller,
    `${path} must be a file that can be ${verb}`,
    (error as Error).message,
    undefined,
    error,
  );
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
