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
import type { ClassMeans } from "./classMeans.ts";
import { DISTANCE_RULES, type DistanceRule } from "./distances.ts";
import type { FittedExit } from "./exits.ts";
import type { FittedExits } from "./fittedExits.ts";
import { dequantise, matrixOf, quantise } from "./quantise.ts";

const map = z.strictObject({
  kind: z.enum(["full", "pooled", "moments"]),
  shape: z.array(z.int().min(1)),
  grid: z.int().min(0),
  stripes: z.int().min(0),
  d: z.int().min(1),
  macs: z.number().min(0),
});

const header = z.strictObject({
  format: z.literal("exitkit/e2cm/1"),
  tensors: z.strictObject({ file: z.string(), sha256: z.string() }),
  modelHash: z.string(),
  classes: z.int().min(2),
  rule: z.enum(DISTANCE_RULES as [DistanceRule, ...DistanceRule[]]),
  predictFrom: z.enum(["raw", "normalised"]),
  nearestMeanLast: z.boolean(),
  precision: z.enum(["float32", "int8"]),
  exits: z.array(
    z.strictObject({
      metric: z.enum(["euclidean", "sharedCovariance"]),
      tap: z.string(),
      map,
      shrinkage: z.number().optional(),
    }),
  ),
  costs: z.strictObject({ exits: z.array(z.number()), full: z.number() }),
  operatingPoints: z.array(
    z.strictObject({
      thresholds: z.array(z.number()),
      accuracy: z.number(),
      meanCost: z.number(),
      costFraction: z.number(),
    }),
  ),
  calibration: z.strictObject({ pictures: z.int(), fullAccuracy: z.number(), heldOut: z.boolean() }).nullable(),
});

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
 * const exits = await fit(model, batches(0, 180), { classes: 4, calibration: batches(180, 240) });
 * await saveExits("exits", exits); // exits.json and exits.safetensors
 * console.assert((await loadExits("exits")).modelHash === exits.modelHash);
 * ```
 */
export async function saveExits(
  path: string,
  fitted: FittedExits,
  options: { readonly precision?: "float32" | "int8" } = {},
): Promise<void> {
  const schema = z.strictObject({ precision: z.enum(["float32", "int8"]).default("float32") });
  const { precision } = parseOptions("e2cm.saveExits", schema, options);
  const tensors: Record<string, Tensor> = {};
  fitted.exits.forEach((exit, index) => {
    const { matrix, classes, classOf } = matrixOf(exit);
    const shape = exit.metric === "euclidean" ? [classes, exit.map.d] : [exit.map.d, classes];
    if (precision === "float32") {
      tensors[`${index}.matrix`] = tensor("float32", shape, matrix);
    } else {
      const { codes, scales } = quantise(matrix, classes, classOf);
      tensors[`${index}.codes`] = tensor("uint8", shape, codes);
      tensors[`${index}.scales`] = tensor("float32", [classes], scales);
    }
    tensors[`${index}.vector`] = tensor("float32", [classes], exit.metric === "euclidean" ? exit.distances : exit.bias);
  });
  if (fitted.lastMeans !== null) {
    tensors["last.means"] = tensor("float32", [fitted.classes, fitted.classes], fitted.lastMeans.means);
    tensors["last.distances"] = tensor("float32", [fitted.classes], fitted.lastMeans.distances);
  }
  const bytes = writeSafetensors(tensors);
  const { lastMeans, exits, ...plain } = fitted;
  const json: z.input<typeof header> = {
    format: "exitkit/e2cm/1",
    tensors: { file: `${path.split(/[\\/]/).at(-1)}.safetensors`, sha256: sha256(bytes) },
    ...plain,
    costs: { exits: [...plain.costs.exits], full: plain.costs.full },
    operatingPoints: plain.operatingPoints.map((point) => ({ ...point, thresholds: [...point.thresholds] })),
    nearestMeanLast: lastMeans !== null,
    precision,
    exits: exits.map((exit) => ({
      metric: exit.metric,
      tap: exit.tap,
      map: { ...exit.map, shape: [...exit.map.shape] },
      ...(exit.metric === "sharedCovariance" ? { shrinkage: exit.shrinkage } : {}),
    })),
  };
  await writePair(path, bytes, `${JSON.stringify(json, null, 1)}\n`);
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
  const exits = json.exits.map(({ metric, tap, map: featureMap, shrinkage }, index): FittedExit => {
    const size = featureMap.d * k;
    const classOf = metric === "euclidean" ? (at: number) => Math.floor(at / featureMap.d) : (at: number) => at % k;
    const matrix =
      json.precision === "float32"
        ? floats(`${index}.matrix`, size)
        : dequantise(
            { codes: take(`${index}.codes`, "uint8", size) as Uint8Array, scales: floats(`${index}.scales`, k) },
            classOf,
          );
    const vector = floats(`${index}.vector`, k);
    return metric === "euclidean"
      ? { metric, tap, map: featureMap, means: matrix, distances: vector }
      : { metric, tap, map: featureMap, weights: matrix, bias: vector, shrinkage: shrinkage ?? 0 };
  });
  const lastMeans: ClassMeans | null = json.nearestMeanLast
    ? { means: floats("last.means", k * k), distances: floats("last.distances", k) }
    : null;
  const { modelHash, classes, rule, predictFrom, costs, operatingPoints, calibration } = json;
  return { modelHash, classes, rule, predictFrom, lastMeans, exits, costs, operatingPoints, calibration };
}

function readHeader(caller: string, path: string, bytes: Uint8Array): z.output<typeof header> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new InputError(caller, `${path} must be JSON`, (error as Error).message, "Is the file complete?", error);
  }
  const parsed = header.safeParse(value);
  const wrong = parsed.success
    ? misfit(parsed.data)
    : `${parsed.error.issues[0]!.path.join(".")}: ${parsed.error.issues[0]!.message}`;
  if (parsed.success && wrong === undefined) return parsed.data;
  throw new InputError(caller, `${path} must describe saved exits (exitkit/e2cm/1)`, wrong ?? "", "Save them again.");
}

/** The first part of a header whose length does not fit its exits. */
function misfit({ exits, costs, operatingPoints }: z.output<typeof header>): string | undefined {
  if (costs.exits.length !== exits.length + 1)
    return `costs.exits: ${costs.exits.length} for ${exits.length} early exits`;
  const open = exits.findIndex((exit) => exit.metric === "sharedCovariance" && exit.shrinkage === undefined);
  if (open >= 0) return `exits.${open}: no shrinkage`;
  const point = operatingPoints.findIndex(({ thresholds }) => thresholds.length !== exits.length);
  return point < 0 ? undefined : `operatingPoints.${point}: not ${exits.length} thresholds`;
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
