import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type DeviceKind, type Tensor, tensor, writeSafetensorsFile } from "@exitkit/core-gpu";
import type { Dataset } from "../../data/directory.ts";
import { type Pictures, slicePictures } from "../../data/pictures.ts";
import type { Weights } from "../../zoo/weights.ts";
import type { Method } from "./candidate.ts";

/** What the process that is measured reads. */
export interface MemoryJob {
  /** `plain`: the plain network answers two batches. */
  readonly method: Exclude<Method, "bwds"> | "plain";
  readonly device: DeviceKind;
  readonly depth: number;
  readonly batch: number;
  readonly shape: Pictures["shape"];
  readonly normalisation: Dataset["normalisation"];
  readonly augmentation: Dataset["augmentation"];
  /** Safetensors: the network's weights; `pixels` and `labels` of the pictures. */
  readonly weights: string;
  readonly pictures: string;
}

/** Pictures that the measured process gets: enough for some steps, and for every class to be there. */
const PICTURES = 1024;

/**
 * Peak memory of fitting, in bytes: the largest resident set of a process of its own that fits the method on 1,024 pictures
 * and ends. The runtime's buffers are as large after two steps as after a thousand; all other pictures are not in it.
 *
 * @param folder A folder of the run; what is written there is removed.
 */
export async function peakMemory(
  job: Omit<MemoryJob, "weights" | "pictures">,
  weights: Weights,
  train: Pictures,
  folder: string,
): Promise<number> {
  await mkdir(folder, { recursive: true });
  const files = { weights: join(folder, "weights.safetensors"), pictures: join(folder, "pictures.safetensors") };
  const few = slicePictures(train, 0, Math.min(train.n, PICTURES));
  try {
    await writeSafetensorsFile(files.weights, weights as Record<string, Tensor>);
    await writeSafetensorsFile(files.pictures, {
      pixels: tensor("uint8", [few.n, ...few.shape], few.pixels.slice()),
      labels: tensor("int32", [few.n], few.labels.slice()),
    });
    const file = join(folder, "job.json");
    await writeFile(file, JSON.stringify({ ...job, ...files } satisfies MemoryJob));
    return await childPeak(file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function childPeak(job: string): Promise<number> {
  const own = import.meta.url;
  const child = fileURLToPath(new URL(`./memory-child${own.slice(own.lastIndexOf("."))}`, own));
  const run = promisify(execFile)(process.execPath, [...process.execArgv, child, job]);
  const { stdout } = await run.catch(({ code, stderr }: { code: unknown; stderr: string }) => {
    throw new Error(`the process whose memory is measured ended with code ${code}: ${stderr.trim()}`);
  });
  const peak = Number(stdout.trim());
  if (Number.isSafeInteger(peak) && peak > 0) return peak;
  throw new Error(`the process whose memory is measured printed ${stdout.trim()}`);
}
