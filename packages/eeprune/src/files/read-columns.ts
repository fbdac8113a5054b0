import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname } from "node:path";
import { pipeline } from "node:stream";
import { InputError, type Tensor, tensor } from "@exitkit/core-gpu";
import { parse } from "csv-parse";
import { asyncBufferFromFile, parquetMetadataAsync, parquetRead } from "hyparquet";
import type { Values } from "../columns/column.ts";
import type { EarlyExitColumns } from "../criterion/prune-by-early-exit.ts";
import { type NpyArray, parseNpy } from "./npy.ts";
import { checkFooter, checkPages } from "./parquet-lists.ts";

/** Where a column is: an npy file with one dimension, or a column of a CSV or Parquet file. */
export type ColumnSource = string | { readonly file: string; readonly column: string };

/** Where each column of {@link EarlyExitColumns} is. */
export type ColumnSources = { readonly [name in keyof EarlyExitColumns]: ColumnSource };

/** What {@link readColumns} gives: the values of {@link EarlyExitColumns}. */
export type ColumnValues = { readonly [name in keyof EarlyExitColumns]: Values };

/** Columns of a table by name, as its file has them. */
type Columns = Readonly<Record<string, ArrayLike<unknown>>>;

/** Some rows of a column, as hyparquet hands them over. */
interface ColumnChunk {
  readonly columnName: string;
  readonly columnData: ArrayLike<unknown>;
  readonly rowStart: number;
}

const NEEDED = ["labels", "earlyPrediction", "finalPrediction", "earlyConfidence"] as const;
const OPTIONAL = ["earlyLoss", "ids"] as const;

/** Rows of a Parquet file: equal ones take next to no bytes, so its size says nothing. */
const MOST_ROWS = 2 ** 27;

const caller = "eeprune.readColumns";

/**
 * Reads columns of predictions that another tool wrote.
 *
 * - npy: floats, whole numbers and booleans of any byte order; int64 is read exactly.
 * - CSV: a header line and numbers.
 * - Parquet: numbers, uncompressed or with Snappy.
 *
 * @param sources A CSV or Parquet file with columns of the names of `EarlyExitColumns`, or a record that says where each is.
 * @throws InputError naming file, row and column of what is not a number; a file that is missing or of another kind; a column that it
 * has not.
 * @example
 * ```ts
 * import { writeFileAtomic } from "@exitkit/core-gpu";
 * import { generator, pruneByEarlyExit, readColumns } from "@exitkit/eeprune";
 * await writeFileAtomic("predictions.csv", "y,early,final,sure\n0,0,0,0.9\n1,1,1,0.8\n1,0,1,0.7\n");
 * const at = (column: string) => ({ file: "predictions.csv", column });
 * const columns = await readColumns({
 *   labels: at("y"),
 *   earlyPrediction: at("early"),
 *   finalPrediction: at("final"),
 *   earlyConfidence: at("sure"),
 * });
 * const { pruned } = pruneByEarlyExit(columns, { classes: 2, threshold: 0.75, generator: generator(1), vanishing: "warn" });
 * console.assert(pruned.join() === "0,1");
 * ```
 */
export async function readColumns(sources: string | ColumnSources): Promise<ColumnValues> {
  if (typeof sources === "string") {
    const table = await readTable(sources, [...NEEDED, ...OPTIONAL]);
    const missing = NEEDED.find((name) => !(name in table));
    if (missing !== undefined) throw absent(sources, missing, Object.keys(table));
    const names = [...NEEDED, ...OPTIONAL.filter((name) => name in table)];
    return Object.fromEntries(names.map((name) => [name, numbersOf(sources, name, table[name]!)])) as never;
  }
  if (typeof sources !== "object" || sources === null) {
    throw new InputError(caller, "sources must be a file, or a record of files", String(sources));
  }
  const unknown = Object.keys(sources).find((name) => !([...NEEDED, ...OPTIONAL] as string[]).includes(name));
  if (unknown !== undefined) {
    throw new InputError(caller, `columns are ${[...NEEDED, ...OPTIONAL].join(", ")}`, `"${unknown}"`);
  }
  const lacking = NEEDED.find((name) => sources[name] === undefined);
  if (lacking !== undefined) throw new InputError(caller, `sources must say where ${lacking} is`, "nothing");
  const wanted = Object.entries(sources).filter(([, source]) => source !== undefined);
  const tables = new Map<string, Promise<Columns>>();
  const columnsIn = (file: string) =>
    wanted.flatMap(([, source]) => (typeof source === "object" && source.file === file ? [source.column] : []));
  const found: Record<string, Values> = {};
  for (const [name, source] of wanted) {
    if (typeof source === "string") {
      found[name] = columnOf(source, await readNpyFile(caller, source));
      continue;
    }
    const { file, column } = source;
    const table = tables.get(file) ?? readTable(file, columnsIn(file));
    tables.set(file, table);
    const values = (await table)[column];
    if (values === undefined) throw absent(file, column, Object.keys(await table));
    found[name] = numbersOf(file, column, values);
  }
  return found as unknown as ColumnValues;
}

/**
 * Reads an npy file as a tensor, for `scoreColumns` or as features: floats as they are, whole numbers as int32 where they fit.
 *
 * @throws InputError where it is no npy file of numbers.
 */
export async function readNpyTensor(path: string): Promise<Tensor> {
  const { shape, data } = await readNpyFile("eeprune.readNpyTensor", path);
  if (data instanceof Float32Array) return tensor("float32", shape, data);
  if (data instanceof Float64Array) return tensor("float64", shape, data);
  if (data instanceof BigInt64Array) return tensor("int64", shape, data);
  if (data instanceof Uint8Array) return tensor("uint8", shape, data);
  return tensor("float64", shape, Float64Array.from(data as Int32Array, Number));
}

async function readNpyFile(from: string, path: string): Promise<NpyArray> {
  if (typeof path !== "string" || extname(path) !== ".npy") {
    const fix = "Name the column of a CSV or Parquet file as { file, column }.";
    throw new InputError(from, "a file without a column must be an npy file", String(path), fix);
  }
  return parseNpy(from, path, await contentOf(from, path));
}

function columnOf(path: string, { shape, data }: NpyArray): Values {
  if (shape.length !== 1) {
    throw new InputError(
      caller,
      `${path} must have one dimension`,
      `[${shape.join(", ")}]`,
      "Scores [n, k]: readNpyTensor.",
    );
  }
  return data instanceof BigUint64Array ? Float64Array.from(data, Number) : data;
}

/** Those of the wanted columns that a table has. */
async function readTable(file: string, wanted: readonly string[]): Promise<Columns> {
  const ending = typeof file === "string" ? extname(file) : "";
  if (ending === ".csv") return readCsv(file, wanted);
  if (ending === ".parquet") return readParquet(file, wanted);
  throw new InputError(caller, "a table must be a .csv or .parquet file", String(file));
}

async function readCsv(file: string, wanted: readonly string[]): Promise<Columns> {
  let names: readonly string[] | null = null;
  let places: readonly number[] = [];
  let columns: unknown[][] = [];
  const parser = parse({ bom: true, skip_empty_lines: true });
  // Whichever ends first ends the other: a broken line closes the file. The error comes out of the loop.
  pipeline(createReadStream(file), parser, () => {});
  try {
    for await (const record of parser as AsyncIterable<readonly string[]>) {
      if (names === null) {
        const head = record.map((name) => name.trim());
        names = head.filter((name) => wanted.includes(name));
        places = names.map((name) => head.indexOf(name));
        columns = names.map(() => []);
        continue;
      }
      for (const [at, place] of places.entries()) columns[at]!.push(record[place]);
    }
  } catch (error) {
    throw new InputError(caller, `must be able to read ${file}`, (error as Error).message, undefined, error);
  }
  if (names === null) throw new InputError(caller, `${file} must begin with the names of its columns`, "an empty file");
  return Object.fromEntries(names.map((name, at) => [name, columns[at]!]));
}

async function readParquet(path: string, wanted: readonly string[]): Promise<Columns> {
  try {
    const file = await asyncBufferFromFile(path);
    await checkFooter(file);
    const metadata = await parquetMetadataAsync(file);
    const present = metadata.schema.slice(1).map(({ name }) => name);
    const n = Number(metadata.num_rows);
    const rows = metadata.row_groups.reduce((sum, { num_rows: own }) => sum + Number(own), 0);
    if (n !== rows || !(n >= 0 && n <= MOST_ROWS)) throw new Error(`${n} rows, ${rows} in its groups`);
    const columns = present.filter((name) => wanted.includes(name));
    await checkPages(file, metadata, columns);
    const table: Record<string, unknown[]> = Object.fromEntries(columns.map((name) => [name, new Array(n)]));
    const onChunk = ({ columnName, columnData, rowStart }: ColumnChunk) => {
      const column = table[columnName]!;
      for (let i = 0; i < columnData.length; i++) column[rowStart + i] = columnData[i];
    };
    if (columns.length > 0) await parquetRead({ file, metadata, columns, onChunk });
    return table;
  } catch (error) {
    const fix = "Parquet files are read uncompressed or with Snappy.";
    throw new InputError(caller, `must be able to read ${path}`, (error as Error).message, fix, error);
  }
}

/** @throws InputError at the first cell that is not a number. */
function numbersOf(file: string, name: string, values: ArrayLike<unknown>): Float64Array {
  const made = new Float64Array(values.length);
  for (let i = 0; i < made.length; i++) {
    const value = values[i];
    const number = value === "" || value === null || value === undefined ? Number.NaN : Number(value);
    if (Number.isNaN(number)) {
      throw new InputError(
        caller,
        `${name} in ${file} must be numbers`,
        `${JSON.stringify(value) ?? "nothing"} in row ${i}`,
      );
    }
    made[i] = number;
  }
  return made;
}

function absent(file: string, name: string, present: readonly string[]): InputError {
  return new InputError(caller, `${file} must have the column ${name}`, present.join(", ") || "no columns");
}

async function contentOf(from: string, path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new InputError(from, `must be able to read ${path}`, (error as Error).message, undefined, error);
  }
}
