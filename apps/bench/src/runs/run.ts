import { createHash } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import { InputError, readSafetensors, type Tensor, writeFileAtomic, writeSafetensors } from "@exitkit/core-gpu";
import type { Progress } from "../terminal/progress.ts";
import { describeEnvironment, type Environment } from "./environment.ts";
import { decodeValue, encodeValue } from "./values.ts";

/** Plain data that decides a run's results: experiment, preset, seed, device, data set edition. */
export type RunConfig = Readonly<Record<string, unknown>>;

/**
 * A folder that holds one run: config.json, environment.json, metrics.jsonl, steps/ and, at the end, result.json. Every file
 * but metrics.jsonl is written atomically, so a run killed at any moment can be started again and goes on.
 */
export interface RunFolder {
  readonly path: string;
  readonly config: RunConfig;
  readonly environment: Environment;
  /** Appends one line to metrics.jsonl: the time and these values. */
  metric(values: Readonly<Record<string, unknown>>): Promise<void>;
  /**
   * The kept result of a finished step, else computes and keeps it. Keys are unique in a run. The result must be plain data
   * (records, lists, numbers, strings, typed arrays, tensors); a kept one comes back equal.
   *
   * @param key Letters, digits, ".", "_", "-"; e.g. "features-resnet20".
   */
  step<T>(key: string, compute: () => Promise<T>): Promise<T>;
  /** Writes result.json. */
  finish(result: unknown): Promise<void>;
}

const caller = "bench.run";

/**
 * Opens a run folder: makes it, or goes on with the finished steps of an earlier run of the same config and says so.
 *
 * @param options.fresh Throws away an earlier run's steps, checkpoints, metrics and result.
 * @throws InputError when the folder holds a run of another config, or other files and no run.
 */
export async function openRun(
  path: string,
  config: RunConfig,
  progress: Progress,
  options: { readonly fresh?: boolean } = {},
): Promise<RunFolder> {
  const text = `${JSON.stringify(config, null, 2)}\n`;
  const hash = createHash("sha256").update(JSON.stringify(config)).digest("hex");
  await mkdir(path, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new InputError(
      caller,
      "--out must be a folder that can be made",
      `${path} (${error.code})`,
      undefined,
      error,
    );
  });
  const earlier = await earlierConfig(path);
  if (options.fresh === true && earlier !== null) {
    for (const name of ["steps", "checkpoints", "metrics.jsonl", "result.json", "environment.json", "config.json"]) {
      await rm(join(path, name), { recursive: true, force: true });
    }
  } else if (earlier !== null && earlier !== text) {
    throw new InputError(
      caller,
      `${path} must be a new folder or hold a run of the same config`,
      `another config (${differences(earlier, config)})`,
      "Pass another --out, or --fresh to throw the earlier run away.",
    );
  }

  const steps = join(path, "steps");
  await mkdir(steps, { recursive: true });
  const kept = new Set((await readdir(steps)).filter((name) => name.endsWith(".step")));
  const environment = await describeEnvironment();
  if (kept.size > 0) await sayResumed(path, kept.size, environment, progress);
  await writeFileAtomic(join(path, "config.json"), text);
  await writeFileAtomic(join(path, "environment.json"), `${JSON.stringify(environment, null, 2)}\n`);
  const metrics = join(path, "metrics.jsonl");
  await dropHalfLine(metrics);

  const used = new Set<string>();
  return {
    path,
    config,
    environment,
    metric: (values) => appendFile(metrics, `${JSON.stringify({ time: new Date().toISOString(), ...values })}\n`),
    async step<T>(key: string, compute: () => Promise<T>): Promise<T> {
      if (!/^[\w.-]+$/.test(key)) {
        throw new InputError(caller, 'a step key must consist of letters, digits, ".", "_", "-"', `"${key}"`);
      }
      if (used.has(key)) throw new InputError(caller, "every step key must be used once", `"${key}" again`);
      used.add(key);
      const file = join(steps, `${key}.step`);
      if (kept.has(`${key}.step`)) return (await readStep(file, hash)) as T;
      const { json, arrays } = encodeValue(await compute());
      const tensors = arrays.map((data, index): [string, Tensor] => [
        String(index),
        { dtype: dtypeOf(data), shape: [data.length], data } as Tensor,
      ]);
      await writeFileAtomic(file, writeSafetensors(Object.fromEntries(tensors), { config: hash, value: json }));
      return (await readStep(file, hash)) as T;
    },
    finish: (result) => writeFileAtomic(join(path, "result.json"), `${JSON.stringify(result, null, 1)}\n`),
  };
}

async function readStep(file: string, hash: string): Promise<unknown> {
  const { tensors, metadata } = readSafetensors(await readFile(file));
  if (metadata.config !== hash) {
    throw new InputError(caller, `${file} must belong to this run's config`, "another config's hash", "Pass --fresh.");
  }
  const arrays = Object.keys(tensors).map((_, index) => tensors[String(index)]!.data);
  return decodeValue(metadata.value!, arrays);
}

async function earlierConfig(path: string): Promise<string | null> {
  const names = await readdir(path);
  if (names.includes("config.json")) return readFile(join(path, "config.json"), "utf8");
  if (names.some((name) => name !== "steps" && !name.startsWith("."))) {
    throw new InputError(
      caller,
      `${path} must be a new folder or hold a run`,
      `other files (${names.slice(0, 3).join(", ")})`,
      "Pass another --out.",
    );
  }
  return null;
}

async function sayResumed(path: string, steps: number, now: Environment, progress: Progress): Promise<void> {
  progress.note(`going on with the run in ${path}: ${steps} finished ${steps === 1 ? "step is" : "steps are"} reused`);
  const before = await readFile(join(path, "environment.json"), "utf8").then(
    (text) => JSON.parse(text) as Environment,
    () => null,
  );
  const version = (at: Environment) => `${at.git?.sha.slice(0, 12) ?? "no git"}${at.git?.dirty ? " with changes" : ""}`;
  if (before !== null && (before.git?.sha !== now.git?.sha || before.git?.dirty || now.git?.dirty)) {
    progress.note(`they were computed by ${version(before)}, this is ${version(now)}; --fresh computes them again`);
  }
}

/** A run killed while it appended leaves half a line: cut off what follows the last line end. */
async function dropHalfLine(file: string): Promise<void> {
  const bytes = await readFile(file).catch(() => null);
  if (bytes === null || bytes.length === 0 || bytes.at(-1) === 10) return;
  await truncate(file, bytes.lastIndexOf(10) + 1);
}

function differences(earlier: string, config: RunConfig): string {
  let before: RunConfig;
  try {
    before = JSON.parse(earlier) as RunConfig;
  } catch {
    return "its config.json cannot be read";
  }
  const keys = [...new Set([...Object.keys(before), ...Object.keys(config)])];
  return keys
    .filter((key) => JSON.stringify(before[key]) !== JSON.stringify(config[key]))
    .map((key) => `${key}: ${JSON.stringify(before[key])} there, ${JSON.stringify(config[key])} here`)
    .join("; ");
}

function dtypeOf(data: Tensor["data"]): Tensor["dtype"] {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Int32Array) return "int32";
  return data instanceof BigInt64Array ? "int64" : "uint8";
}
