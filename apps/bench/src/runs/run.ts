import { createHash } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import {
  claimFolder,
  type FolderClaim,
  InputError,
  readSafetensors,
  type Tensor,
  writeFileAtomic,
  writeSafetensors,
} from "@exitkit/core-gpu";
import { z } from "zod";
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
 * The folder is this process's own until the run is finished or the process ends.
 *
 * @throws InputError when the folder holds a run of another config, or other files and no run, cannot be made, or another process
 * has a run in it.
 */
export async function openRun(
  path: string,
  config: RunConfig,
  progress: Progress,
  options: { readonly fresh?: boolean } = {},
): Promise<RunFolder> {
  await claimRun(path);
  try {
    return await openClaimed(path, config, progress, options);
  } catch (error) {
    await leaveRun(path);
    throw error;
  }
}

async function openClaimed(
  path: string,
  config: RunConfig,
  progress: Progress,
  options: { readonly fresh?: boolean },
): Promise<RunFolder> {
  const text = `${JSON.stringify(config, null, 2)}\n`;
  const hash = createHash("sha256").update(JSON.stringify(config)).digest("hex");
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
    finish: async (result) => {
      await writeFileAtomic(join(path, "result.json"), `${JSON.stringify(result, null, 1)}\n`);
      await leaveRun(path);
    },
  };
}

/** Folders of runs of this process. One that is opened again goes on: what failed before does not stand in its way. */
const claims = new Map<string, FolderClaim>();

async function claimRun(path: string): Promise<void> {
  await leaveRun(path);
  claims.set(path, await claimFolder(caller, path));
}

async function leaveRun(path: string): Promise<void> {
  await claims.get(path)?.release();
  claims.delete(path);
}

async function readStep(file: string, hash: string): Promise<unknown> {
  const { tensors, metadata } = readSafetensors(await readFile(file), { source: file });
  const broken = (actual: string, cause?: unknown) =>
    new InputError(caller, `${file} must be a step that was kept`, actual, "Remove it to compute it again.", cause);
  if (metadata.config !== hash) {
    throw new InputError(caller, `${file} must belong to this run's config`, "another config's hash", "Pass --fresh.");
  }
  if (metadata.value === undefined) throw broken("one without a value");
  const arrays = Array.from({ length: Object.keys(tensors).length }, (_, index) => tensors[String(index)]?.data);
  if (arrays.some((data) => data === undefined)) throw broken("tensors that are not numbered");
  try {
    return decodeValue(metadata.value, arrays as Tensor["data"][]);
  } catch (error) {
    throw broken(error instanceof Error ? error.message : String(error), error);
  }
}

async function earlierConfig(path: string): Promise<string | null> {
  const names = await readdir(path);
  if (names.includes("config.json")) return readFile(join(path, "config.json"), "utf8");
  const others = names.filter((name) => name !== "steps" && !name.startsWith("."));
  if (others.length > 0) {
    throw new InputError(
      caller,
      `${path} must be a new folder or hold a run`,
      `other files (${others.slice(0, 3).join(", ")})`,
      "Pass another --out.",
    );
  }
  return null;
}

async function sayResumed(path: string, steps: number, now: Environment, progress: Progress): Promise<void> {
  progress.note(`going on with the run in ${path}: ${steps} finished ${steps === 1 ? "step is" : "steps are"} reused`);
  const before = await readFile(join(path, "environment.json"), "utf8").then(
    (text) => earlierEnvironment.safeParse(parsed(text)).data ?? null,
    () => null,
  );
  const version = (at: Pick<Environment, "git">) =>
    `${at.git?.sha.slice(0, 12) ?? "no git"}${at.git?.dirty ? " with changes" : ""}`;
  if (before !== null && (before.git?.sha !== now.git?.sha || before.git?.dirty || now.git?.dirty)) {
    progress.note(`they were computed by ${version(before)}, this is ${version(now)}; --fresh computes them again`);
  }
}

/** What is asked of an earlier run's environment; what another version wrote is as good as none. */
const earlierEnvironment = z.object({ git: z.object({ sha: z.string(), dirty: z.boolean() }).nullable() });

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A run killed while it appended leaves half a line: cut off what follows the last line end. */
async function dropHalfLine(file: string): Promise<void> {
  const bytes = await readFile(file).catch(() => null);
  if (bytes === null || bytes.length === 0 || bytes.at(-1) === 10) return;
  await truncate(file, bytes.lastIndexOf(10) + 1);
}

function differences(earlier: string, config: RunConfig): string {
  const found = z.record(z.string(), z.unknown()).safeParse(parsed(earlier));
  if (!found.success) return "its config.json cannot be read";
  const before: RunConfig = found.data;
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
