import { createHash } from "node:crypto";
import { readFile, rename, rm } from "node:fs/promises";
import { extname } from "node:path";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import { z } from "zod";
import type { Selection } from "../selection/selection.ts";
import { npyOf, parseNpy } from "./npy.ts";

/** Which data a selection is of. */
export interface SelectionData {
  /** What `hashSamples` gave for it. */
  readonly data: string;
}

const header = z.strictObject({
  format: z.literal("exitkit/eeprune/1"),
  data: z.string(),
  file: z.strictObject({ name: z.string(), sha256: z.string() }),
  method: z.string(),
  samples: z.int().min(1),
  kept: z.int().min(0),
  ratio: z.number().nullable(),
  threshold: z.number().nullable(),
  missing: z.int().min(0),
  warnings: z.array(z.string()).readonly(),
});

type Header = z.output<typeof header>;

const ENDINGS = [".npy", ".jsonl", ".csv"];

/**
 * Saves a selection for other tools: `path` holds it, `<path>.json` says what it is and of which data.
 *
 * - `.npy`: the kept rows, int64 [m], as NumPy indexes with; only where ids are the rows 0 … n − 1.
 * - `.jsonl`: a line `{"id":…,"kept":true}` for each sample.
 * - `.csv`: the columns `id` and `kept`, 1 or 0.
 *
 * Both files are replaced as a whole, and the second holds the hash of the first: a pair that does not belong together is noticed.
 *
 * @throws InputError on another ending, a missing hash, ids that an npy file cannot say, or when a file cannot be written.
 * @example
 * ```ts
 * import { generator, hashSamples, loadSelection, pruneBy, saveSelection } from "@exitkit/eeprune";
 * const labels = [0, 0, 0, 1, 1, 1];
 * const selection = pruneBy("random", { labels, classes: 2 }, { ratio: 0.5, balanced: true, generator: generator(1) });
 * const data = hashSamples({ labels });
 * await saveSelection("kept.npy", selection, { data }); // np.load("kept.npy") in Python
 * const { kept } = await loadSelection("kept.npy", { data });
 * console.assert(kept.join() === selection.kept.join());
 * ```
 */
export async function saveSelection(path: string, selection: Selection, options: SelectionData): Promise<void> {
  const caller = "eeprune.saveSelection";
  const ending = endingOf(caller, path);
  const data = hashOf(caller, options);
  if (!(selection?.kept instanceof Int32Array) || !(selection.pruned instanceof Int32Array)) {
    throw new InputError(caller, "selection must be what a pruning function gave", typeof selection);
  }
  const { method, kept, pruned, ratio, threshold, missing, warnings } = selection;
  const samples = kept.length + pruned.length;
  if (ending === ".npy" && [kept, pruned].some((ids) => ids.length > 0 && ids.at(-1)! >= samples)) {
    const fix = "Save it as .csv or .jsonl.";
    throw new InputError(caller, "an npy file holds rows, so ids must be 0 … n − 1", "other ids", fix);
  }
  const content = ending === ".npy" ? npyOf(kept) : new TextEncoder().encode(textOf(ending, kept, pruned));
  const json: Header = {
    format: "exitkit/eeprune/1",
    data,
    file: { name: path.split(/[\\/]/).at(-1)!, sha256: sha256(content) },
    method,
    samples,
    kept: kept.length,
    ratio,
    threshold,
    missing,
    warnings,
  };
  // Both are on the disk before either replaces an older one, so a full disk leaves an older pair as it was.
  const waiting = `${path}.json.new`;
  await writeFileAtomic(waiting, `${JSON.stringify(json, null, 1)}\n`);
  try {
    await writeFileAtomic(path, content);
    await rename(waiting, `${path}.json`);
  } catch (error) {
    await rm(waiting, { force: true });
    if (error instanceof InputError) throw error;
    throw new InputError(caller, `must be able to write ${path}.json`, (error as Error).message, undefined, error);
  }
}

/**
 * Loads what {@link saveSelection} saved.
 *
 * @param options.data The hash of the data it is to be used on.
 * @throws InputError where a file is missing, changed, of another format, or of other data.
 */
export async function loadSelection(path: string, options: SelectionData): Promise<Selection> {
  const caller = "eeprune.loadSelection";
  const ending = endingOf(caller, path);
  const data = hashOf(caller, options);
  const found = readHeader(caller, `${path}.json`, await bytesOf(caller, `${path}.json`));
  if (found.data !== data) {
    const actual = `one of ${found.data.slice(0, 16)}…`;
    const fix = "Its ids name samples of other data. Choose again.";
    throw new InputError(caller, `${path} must be a selection of the data ${data.slice(0, 16)}…`, actual, fix);
  }
  const content = await bytesOf(caller, path);
  if (sha256(content) !== found.file.sha256) {
    const fix = "One of the two files was changed or belongs to another save: save again.";
    throw new InputError(caller, `${path} must be the file that ${path}.json names`, "another one", fix);
  }
  const { method, samples, ratio, threshold, missing, warnings } = found;
  const { kept, pruned } = idsOf(caller, path, ending, content, samples);
  return { method, kept, pruned, ratio, threshold, missing, warnings };
}

function textOf(ending: string, kept: Int32Array, pruned: Int32Array): string {
  const stays = new Set(kept);
  const ids = Int32Array.from([...kept, ...pruned]).sort();
  const line =
    ending === ".csv"
      ? (id: number) => `${id},${stays.has(id) ? 1 : 0}`
      : (id: number) => JSON.stringify({ id, kept: stays.has(id) });
  return `${ending === ".csv" ? "id,kept\n" : ""}${Array.from(ids, line).join("\n")}\n`;
}

function idsOf(caller: string, path: string, ending: string, content: Uint8Array, samples: number) {
  if (ending === ".npy") {
    const kept = Int32Array.from(parseNpy(caller, path, content).data as BigInt64Array, Number);
    const stays = new Set(kept);
    const pruned = Int32Array.from({ length: samples }, (_, i) => i).filter((i) => !stays.has(i));
    return { kept, pruned };
  }
  const lines = new TextDecoder().decode(content).trimEnd().split("\n");
  const rows =
    ending === ".csv"
      ? lines.slice(1).map((line) => line.split(",").map(Number))
      : lines
          .map((line) => JSON.parse(line) as { id: number; kept: boolean })
          .map(({ id, kept }) => [id, kept ? 1 : 0]);
  const those = (wanted: number) => Int32Array.from(rows.filter(([, kept]) => kept === wanted).map(([id]) => id!));
  return { kept: those(1), pruned: those(0) };
}

function endingOf(caller: string, path: string): string {
  const ending = typeof path === "string" ? extname(path) : "";
  if (ENDINGS.includes(ending)) return ending;
  throw new InputError(caller, `path must end in ${ENDINGS.join(", ")}`, String(path));
}

function hashOf(caller: string, options: SelectionData | undefined): string {
  const data = options?.data;
  if (typeof data === "string" && data !== "") return data;
  throw new InputError(caller, "options.data must be the hash of the data", typeof data, "Pass hashSamples(…).");
}

function readHeader(caller: string, path: string, bytes: Uint8Array): Header {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new InputError(caller, `${path} must be JSON`, (error as Error).message, undefined, error);
  }
  const parsed = header.safeParse(json);
  if (parsed.success) return parsed.data;
  const { path: place, message } = parsed.error.issues[0]!;
  throw new InputError(
    caller,
    `${path} must describe a selection (exitkit/eeprune/1)`,
    `${place.join(".")}: ${message}`,
  );
}

async function bytesOf(caller: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new InputError(caller, `must be able to read ${path}`, (error as Error).message, undefined, error);
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
