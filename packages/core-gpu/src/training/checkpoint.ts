import { createHash, randomBytes } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { z } from "zod";
import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import { fileError, makeFolder, syncFolder, writeFileAtomic } from "../files.ts";
import { printed } from "../printed.ts";
import { readSafetensors, writeSafetensors } from "../safetensors.ts";
import type { Tensor } from "../tensor.ts";
import { exactNumbers, restoreNumbers } from "./exact-json.ts";

/** A point of a training run from which it can go on: a folder `step-…` of safetensors files and a `checkpoint.json`. */
export interface Checkpoint {
  /** The folder. */
  readonly path: string;
  /** Updates done. */
  readonly step: number;
  /** Tensors by file: `state` (parameters and the optimiser's state, by the program's names) and what else was kept. */
  readonly tensors: Readonly<Record<string, Readonly<Record<string, Tensor>>>>;
  /** What else is needed to go on: plain JSON. */
  readonly progress: unknown;
}

const format = "exitkit-checkpoint";
const manifestName = "checkpoint.json";
const manifestSchema = z.strictObject({
  format: z.literal(format),
  version: z.literal(1),
  step: z.int().min(0),
  progress: z.unknown(),
  files: z.record(
    // A name, not a way to other folders; what is named like a part of every object would not be a part of this one.
    z.string().regex(/^[A-Za-z][\w-]{0,99}\.safetensors$/),
    z.strictObject({ bytes: z.int().min(0), sha256: z.string() }),
  ),
});

const caller = "core-gpu.training.readCheckpoint";
const saver = "core-gpu.training.saveCheckpoint";
const folderName = (step: number): string => `step-${String(step).padStart(10, "0")}`;
const isCheckpoint = (name: string): boolean => /^step-\d{10,}$/.test(name);
const isLeftOver = (name: string): boolean => /^\.(new|old)-step-\d+\.[0-9a-f]+$/.test(name);

/**
 * Writes a checkpoint so that it is there whole or not at all: everything goes into a folder of another name and to disk,
 * then that is renamed. One of the same step that is already there is kept, as the same run would write the same.
 *
 * @param folder Where the run keeps its checkpoints; made if it is missing.
 * @param keep How many of the newest checkpoints stay; older ones are removed afterwards.
 * @throws InputError when it cannot be written (disk full, ...); older checkpoints are then unchanged.
 */
export async function saveCheckpoint(
  folder: string,
  { step, tensors, progress }: Omit<Checkpoint, "path">,
  keep: number,
): Promise<string> {
  const path = join(folder, folderName(step));
  const suffix = `${folderName(step)}.${randomBytes(6).toString("hex")}`;
  const fresh = join(folder, `.new-${suffix}`);
  try {
    await makeFolder(saver, folder);
    await removeLeftOvers(folder);
    if (await exists(path)) return path;
    await mkdir(fresh);
    const files: Record<string, { bytes: number; sha256: string }> = {};
    for (const [name, record] of Object.entries(tensors)) {
      const bytes = writeSafetensors(record);
      await writeFileAtomic(join(fresh, `${name}.safetensors`), bytes);
      files[`${name}.safetensors`] = { bytes: bytes.byteLength, sha256: sha256(bytes) };
    }
    const manifest = { format, version: 1, step, progress: exactNumbers(progress), files };
    await writeFileAtomic(join(fresh, manifestName), sealed(manifest));
    await rename(fresh, path);
    await syncFolder(folder);
    await syncFolder(dirname(folder));
  } catch (error) {
    await rm(fresh, { recursive: true, force: true }).catch(() => undefined);
    if (error instanceof InputError) throw error;
    throw fileError(saver, "write", path, error);
  }
  await removeOlder(folder, keep);
  return path;
}

/** The checkpoints in a folder, oldest first; none where there is no such folder. */
export async function listCheckpoints(folder: string): Promise<readonly string[]> {
  checkArguments("core-gpu.training.listCheckpoints", { folder: [folder, "a string"] });
  try {
    const names = (await readdir(folder)).filter(isCheckpoint);
    return names.sort((a, b) => Number(a.slice(5)) - Number(b.slice(5))).map((name) => join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw fileError("core-gpu.training.listCheckpoints", "read", folder, error);
  }
}

/**
 * Reads a checkpoint and checks it against its hashes.
 *
 * @param path A folder `step-…` that `train` wrote.
 * @throws InputError when a file is missing, cut short, changed, or of something else.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  checkArguments("core-gpu.training.readCheckpoint", { path: [path, "a string"] });
  const manifest = checkedManifest(path, (await readPart(path, manifestName)).toString("utf8"));
  const tensors = new Map<string, Record<string, Tensor>>();
  for (const [name, { bytes, sha256: expected }] of Object.entries(manifest.files)) {
    const content = await readPart(path, name);
    if (content.byteLength !== bytes) throw damaged(path, `${name} of ${content.byteLength} bytes instead of ${bytes}`);
    if (sha256(content) !== expected) throw damaged(path, `${name} with another hash`);
    const { tensors: read } = readSafetensors(content, { source: join(path, name) });
    tensors.set(name.replace(/\.safetensors$/, ""), read);
  }
  return {
    path,
    step: manifest.step,
    tensors: Object.fromEntries(tensors),
    progress: restoreNumbers(manifest.progress),
  };
}

function checkedManifest(path: string, text: string): z.output<typeof manifestSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw damaged(path, `a ${manifestName} that is not JSON`, error);
  }
  const record = typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
  const { sha256: seal, ...manifest } = record as Record<string, unknown>;
  if (manifest.format !== format) throw damaged(path, `a ${manifestName} of something else`);
  if (manifest.version !== 1) throw damaged(path, `version ${printed(manifest.version)}, not 1`);
  const parsed = manifestSchema.safeParse(manifest);
  if (!parsed.success || seal !== sha256(JSON.stringify(manifest)))
    throw damaged(path, `a ${manifestName} that was changed`);
  return parsed.data;
}

function sealed(manifest: object): string {
  return `${JSON.stringify({ ...manifest, sha256: sha256(JSON.stringify(manifest)) }, null, 1)}\n`;
}

function sha256(data: Uint8Array | string): string {
  return createHash("sha256").update(data).digest("hex");
}

async function readPart(path: string, name: string): Promise<Buffer> {
  try {
    return await readFile(join(path, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") throw damaged(path, `no ${name}`, error);
    throw fileError(caller, "read", join(path, name), error);
  }
}

function damaged(path: string, actual: string, cause?: unknown): InputError {
  const fix = "Remove that folder to go on from the checkpoint before it, if there is one.";
  return new InputError(caller, `${path} must be a whole checkpoint`, actual, fix, cause);
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function removeOlder(folder: string, keep: number): Promise<void> {
  const all = await listCheckpoints(folder);
  for (const path of all.slice(0, Math.max(0, all.length - keep))) {
    // Renamed first: one that is half removed must not look like a checkpoint.
    const old = join(folder, `.old-${basename(path)}.${randomBytes(6).toString("hex")}`);
    await rename(path, old);
    await rm(old, { recursive: true, force: true });
  }
}

async function removeLeftOvers(folder: string): Promise<void> {
  for (const name of (await readdir(folder)).filter(isLeftOver)) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}
