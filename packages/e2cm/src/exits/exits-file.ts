import { createHash } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import {
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
import type { FittedExit, OutputExit } from "./exits.ts";
import { type FittedExits, outputsOf } from "./fitted-exits.ts";
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

const common = {
  tensors: z.strictObject({ file: z.string(), sha256: z.string() }),
  modelHash: z.string(),
  classes: z.int().min(2),
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]),
  predictFrom: z.enum(["raw", "normalised"]),
  precision: z.enum(["float32", "int8"]),
  costs: z.strictObject({ exits: z.array(z.number()), full: z.number() }),
  operatingPoints: z.array(point),
  calibration: z
    .strictObject({
      pictures: z.int(),
      fullAccuracy: z.number(),
      heldOut: z.boolean(),
      notes: z.array(z.string()).default([]),
    })
    .nullable(),
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
 * Saves fitted exits: `<path>.json` says what they are, `<path>.safetensors` holds the numbers. Each file is replaced
 * as a whole, the JSON last, and the JSON holds the other's sha256, so a pair that does not belong together is noticed.
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
 * await saveExits("exits", fitted); // exits.json and exits.safetensors
 * console.assert((await loadExits("exits")).modelHash === fitted.modelHash);
 * ```
 */
export async function saveExits(
  path: string,
  fitted: FittedExits,
  options: { readonly precision?: "float32" | "int8" } = {},
): Promise<void> {
  const schema = z.strictObject({ precision: z.enum(["float32", "int8"]).default("float32") });
  const { precision } = parseOptions("e2cm.saveExits", schema, options);
  const { output, exits } = fitted;
  const tensors: Record<string, Tensor> = Object.assign(
    {},
    ...exits.map((exit, index) => tensorsOf(`${index}`, exit, fitted.classes, precision)),
    output === null ? {} : tensorsOf("last", output, fitted.classes, "float32"),
  );
  const bytes = writeSafetensors(tensors);
  const { modelHash, classes, rule, predictFrom, last, counts, rejection, calibration, costs } = fitted;
  const { operatingPoints, guarded } = fitted;
  const json: Header = {
    format: "exitkit/e2cm/2",
    tensors: { file: `${path.split(/[\\/]/).at(-1)}.safetensors`, sha256: sha256(bytes) },
    modelHash,
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
  await writePair(path, bytes, `${JSON.stringify(json, null, 1)}\n`);
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

/** Both files are on the disk before either replaces an older one, so a full disk leaves an older pair as it was. */
async function writePair(path: string, tensors: Uint8Array, json: string): Promise<void> {
  const waiting = `${path}.json.new`;
  await writeFileAtomic(waiting, json);
  try {
    await writeFileAtomic(`${path}.safetensors`, tensors);
    await rename(waiting, `${path}.json`);
  } catch (error) {
    await rm(waiting, { force: true });
    throw error instanceof InputError ? error : cannot("e2cm.saveExits", "written to", `${path}.json`, error);
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
  const json = readHeader(caller, `${path}.json`, await readBytes(caller, `${path}.json`));
  const bytes = await readBytes(caller, `${path}.safetensors`);
  if (sha256(bytes) !== json.tensors.sha256) {
    throw new InputError(
      caller,
      `${path}.safetensors must have the sha256 ${json.tensors.sha256.slice(0, 16)}… that ${path}.json names`,
      `${sha256(bytes).slice(0, 16)}…`,
      "One of the two files was changed or belongs to another save: save again.",
    );
  }
  const { tensors } = readSafetensors(bytes, { source: `${path}.safetensors` });
  const take = (name: string, dtype: "float32" | "uint8", length: number): Float32Array | Uint8Array => {
    const found = tensors[name];
    if (found?.dtype === dtype && found.data.length === length) return found.data as Float32Array | Uint8Array;
    const actual = found === undefined ? "none" : `${found.dtype} [${found.shape.join(", ")}]`;
    throw new InputError(caller, `${path}.safetensors must hold ${dtype} "${name}" with ${length} elements`, actual);
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
