import { createHash } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import {
  claimFolder,
  type FolderClaim,
  InputError,
  type Tensor,
  writeFileAtomic,
  writeSafetensors,
} from "@exitkit/core-gpu";
import type { Progress } from "../terminal/progress.ts";
import {
  configText,
  earlierConfig,
  earlierEnvironment,
  type RunConfig,
  readStep,
  refuseOtherConfig,
} from "./earlier-run.ts";
import { describeEnvironment, type Environment } from "./environment.ts";
import { encodeValue } from "./values.ts";

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
  const text = configText(config);
  const hash = createHash("sha256").update(JSON.stringify(config)).digest("hex");
  const earlier = await earlierConfig(path);
  if (options.fresh === true && earlier !== null) {
    for (const name of ["steps", "checkpoints", "metrics.jsonl", "result.json", "environment.json", "config.json"]) {
      await rm(join(path, name), { recursive: true, force: true });
    }
  } else if (earlier !== null) refuseOtherConfig(path, earlier, config);

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

async function sayResumed(path: string, steps: number, now: Environment, progress: Progress): Promise<void> {
  progress.note(`going on with the run in ${path}: ${steps} finished ${steps === 1 ? "step is" : "steps are"} reused`);
  const before = await earlierEnvironment(path);
  const version = (at: Pick<Environment, "git">) =>
    `${at.git?.sha.slice(0, 12) ?? "no git"}${at.git?.dirty ? " with changes" : ""}`;
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

function dtypeOf(data: Tensor["data"]): Tensor["dtype"] {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Int32Array) return "int32";
  return data instanceof BigInt64Array ? "int64" : "uint8";
}
