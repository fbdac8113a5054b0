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

/** The ids of those that an npy file does not name are made from this number alone. */
const MOST_SAMPLES = 2 ** 27;

const header = z.strictObject({
  format: z.literal("exitkit/eeprune/1"),
  data: z.string(),
  file: z.strictObject({ name: z.string(), sha256: z.string() }),
  method: z.string(),
  samples: z.int().min(1).max(MOST_SAMPLES),
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
  const { method, ratio, threshold, missing, warnings } = found;
  const { kept, pruned } = idsOf(caller, path, ending, content, found);
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

/** @throws InputError where the file does not say of each sample once whether it is kept. */
function idsOf(caller: string, path: string, ending: string, content: Uint8Array, { samples, kept }: Header) {
  const refuse = (actual: string, cause?: unknown): never => {
    const expectation = `${path} must say of ${samples} samples, each once, that ${kept} are kept`;
    throw new InputError(caller, expectation, actual, "Save it again.", cause);
  };
  if (ending === ".npy") {
    const { shape, data } = parseNpy(caller, path, content);
    const rows = Int32Array.from(data as ArrayLike<unknown> as ArrayLike<number>, Number);
    const stays = new Set(rows);
    const inside = Array.from(data as ArrayLike<unknown>, Number).every(
      (row) => row >= 0 && row < samples && row % 1 === 0,
    );
    if (shape.length !== 1 || !inside || stays.size !== rows.length || rows.length !== kept)
      return refuse(`${rows.length} rows, ${stays.size} different ones`);
    const pruned = new Int32Array(samples - kept);
    for (let id = 0, to = 0; id < samples; id++) if (!stays.has(id)) pruned[to++] = id;
    return { kept: rows, pruned };
  }
  const lines = new TextDecoder().decode(content).trimEnd().split("\n");
  const read = ending === ".csv" ? lines.slice(1).map((line) => line.split(",")) : lines.map((line) => idOfJson(line));
  const broken = read.findIndex((row) => row === null || !/^-?\d{1,10}$/.test(row[0]!) || !/^[01]$/.test(row[1] ?? ""));
  if (broken >= 0) return refuse(`"${lines[broken + (ending === ".csv" ? 1 : 0)]!.slice(0, 60)}"`);
  const rows = (read as readonly (readonly string[])[]).map((row) => row.map(Number));
  const those = (wanted: number) => rows.filter(([, stays]) => stays === wanted).map(([id]) => id!);
  const found = { kept: Int32Array.from(those(1)), pruned: Int32Array.from(those(0)) };
  const different = new Set([...found.kept, ...found.pruned]).size;
  if (
    rows.some(([id]) => (id! | 0) !== id) ||
    different !== samples ||
    found.kept.length !== kept ||
    rows.length !== samples
  )
    return refuse(`${rows.length} lines, ${different} different ids, ${found.kept.length} kept`);
  return found;
}

/** `{"id":…,"kept":…}` as the cells of a line; null where it is none. */
function idOfJson(line: string): readonly string[] | null {
  try {
    const parsed = JSON.parse(line) as { readonly id?: unknown; readonly kept?: unknown } | null;
    return typeof parsed?.kept === "boolean" ? [String(parsed.id), parsed.kept ? "1" : "0"] : null;
  } catch {
    return null;
  }
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
