import { access, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { InputError, layers, readSafetensorsFile, type Tensor, writeSafetensorsFile } from "@exitkit/core-gpu";
import type { ExitParameters } from "@exitkit/early-exit";
import { z } from "zod";
import type { Masks } from "../masks/masks.ts";
import type { PruningRound } from "../orders/round.ts";

/** Where pruning stands after a round. */
export interface Standing {
  readonly params: ExitParameters;
  readonly masks: Masks;
  readonly record: PruningRound;
}

const MASK = "mask:";
const FORMAT = "exitkit/prune-ee/1";

const fileOf = (folder: string, round: number) => join(folder, `round-${String(round).padStart(3, "0")}.safetensors`);

/** The folder in which the fine-tuning of a round keeps its checkpoints. */
export function trainingFolder(folder: string, round: number): string {
  return join(folder, `round-${String(round).padStart(3, "0")}-training`);
}

/** Keeps a finished round as one file, written whole or not at all; its fine-tuning's checkpoints are removed afterwards. */
export async function saveRound(folder: string, plan: string, standing: Standing): Promise<void> {
  const { params, masks, record } = standing;
  await mkdir(folder, { recursive: true });
  const tensors = Object.fromEntries(Object.entries(masks).map(([path, mask]) => [`${MASK}${path}`, mask as Tensor]));
  await writeSafetensorsFile(
    fileOf(folder, record.round),
    { ...layers.flattenParameters(params), ...tensors },
    { format: FORMAT, plan, record: JSON.stringify(record) },
  );
  await rm(trainingFolder(folder, record.round), { recursive: true, force: true });
}

/**
 * A finished round, or null where it was not finished.
 *
 * @param plan What the run is, in words: another one's rounds are refused.
 * @param like Parameters of the network.
 */
export async function loadRound(
  folder: string,
  round: number,
  plan: string,
  like: ExitParameters,
): Promise<Standing | null> {
  const caller = "prune-ee.pruneNetwork";
  const path = fileOf(folder, round);
  try {
    await access(path);
  } catch {
    return null;
  }
  const { tensors, metadata } = await readSafetensorsFile(path);
  if (metadata.format !== FORMAT || metadata.plan !== plan) {
    const fix = "Prune into another folder, or pass the options that the run was begun with.";
    throw new InputError(caller, `"${path}" must be of the same run: ${plan}`, `${metadata.plan}`, fix);
  }
  const entries = Object.entries(tensors);
  const weights = Object.fromEntries(entries.filter(([name]) => !name.startsWith(MASK)));
  const masks = entries
    .filter(([name]) => name.startsWith(MASK))
    .map(([name, mask]) => [name.slice(MASK.length), mask]);
  return {
    params: layers.unflattenParameters(weights, like),
    masks: Object.fromEntries(masks) as Masks,
    record: recordOf(caller, path, metadata.record),
  };
}

/** What is relied on of a kept round's record; the rest is shown only. */
const recordSchema = z.looseObject({
  round: z.int().min(0),
  scope: z.string(),
  sparsity: z.number().min(0).max(1),
  layers: z.array(z.looseObject({ path: z.string() })),
  history: z.array(z.looseObject({})),
  evaluation: z.record(z.string(), z.number().nullable()),
  notes: z.array(z.string()),
});

function recordOf(caller: string, path: string, text: string | undefined): PruningRound {
  const refuse = (actual: string, cause?: unknown) =>
    new InputError(caller, `"${path}" must hold the record of a round`, actual, "Remove it to prune it again.", cause);
  let json: unknown;
  try {
    json = JSON.parse(text ?? "null");
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error), error);
  }
  const parsed = recordSchema.safeParse(json);
  if (parsed.success) return json as PruningRound;
  const { path: place, message } = parsed.error.issues[0]!;
  throw refuse(`${place.join(".")}: ${message}`);
}
