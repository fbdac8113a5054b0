import { access, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { InputError } from "@exitkit/core-gpu";
import type { Augmentation } from "./augment.ts";
import type { Origin } from "./fetch.ts";
import type { Normalisation } from "./normalisation.ts";
import { type Pictures, slicePictures } from "./pictures.ts";
import { type DataFile, readStored, type StoredFile } from "./stored.ts";

/** The sum of a file's uncompressed bytes; of its official gzip file, where only that is known; null where none is. */
type Sum = string | { readonly gzip: string } | null;

/** File names and their sums. */
export type Sums = Readonly<Record<string, Sum>>;

/** One way a data set can lie in a folder. */
export interface Edition {
  /** e.g. "CIFAR-10" or "CIFAR-10 subset", for tables and reports. */
  readonly name: string;
  /** Whether this is the whole official data set; accuracies on anything less must be quoted as such. */
  readonly complete: boolean;
  readonly train: Sums;
  readonly test: Sums;
}

/** What is said of a data set once: its file in `sets/` holds nothing else. */
export interface PictureSet {
  /** Of the command line, and of the folder below the data folder in which it lies. */
  readonly name: string;
  /** The official edition first. */
  readonly editions: readonly Edition[];
  /** Further folders below the data folder in which it may lie. */
  readonly folders?: readonly string[];
  /** A folder of the repository with one of its editions, used where the data folder has none. */
  readonly bundled?: string;
  readonly classNames: readonly string[];
  /** How its pictures become network inputs, and how training pictures are varied. */
  readonly normalisation: Normalisation;
  readonly augmentation: Augmentation;
  /** Pictures of the training files or of the test files, in the edition's order. */
  parse(files: readonly { readonly path: string; readonly bytes: Uint8Array }[]): Pictures;
  /** What to do where it is not there, or not whole. */
  readonly fix: string;
  /** Where `bench data` gets it; missing: nowhere. */
  readonly origin?: Origin;
}

/** A data set in memory. */
export interface Dataset
  extends Pick<Edition, "name" | "complete">,
    Pick<PictureSet, "classNames" | "normalisation" | "augmentation"> {
  /** One line saying what it is and where it comes from. */
  readonly about: string;
  readonly train: Pictures;
  readonly test: Pictures;
  /** The files it was read from: training files first. */
  readonly files: readonly DataFile[];
}

/** A data set with only the first of its pictures: no more complete, where some are left out. */
export function limited(data: Dataset, most: { readonly train?: number; readonly test?: number }): Dataset {
  const { train, test } = data;
  const first = (pictures: Pictures, n = pictures.n) => slicePictures(pictures, 0, Math.min(n, pictures.n));
  const some = { train: first(train, most.train), test: first(test, most.test) };
  return { ...data, ...some, complete: data.complete && some.train.n === train.n && some.test.n === test.n };
}

/** What a result says of the data set it was made with. */
export function dataOf({ name, complete, train, test, files }: Dataset) {
  return { name, complete, train: train.n, test: test.n, files };
}

/** Where a data set was found: its edition and the path of every file. */
export interface Found {
  readonly edition: Edition;
  readonly directory: string;
  readonly paths: Readonly<Record<string, string>>;
}

/**
 * The data folder to use: the `--data` option, else the environment variable EXITKIT_DATA, else none.
 *
 * @throws InputError when a folder is named that does not exist.
 */
export async function dataDirectory(option: string | undefined): Promise<string | undefined> {
  const named = option ?? process.env.EXITKIT_DATA;
  if (named === undefined || named === "") return undefined;
  const directory = resolve(named);
  const found = await stat(directory).catch(() => null);
  if (found?.isDirectory() === true) return directory;
  const expectation = `${option === undefined ? "EXITKIT_DATA" : "--data"} must name a folder`;
  const actual = `${directory}, ${found === null ? "which does not exist" : "which is not a folder"}`;
  throw new InputError("bench", expectation, actual, `Fill one with: bench data <name> --data ${named}`);
}

/** The folders in which a data set may lie: own ones first, as several have files of the same names. */
export function placesOf({ name, folders = [] }: Pick<PictureSet, "name" | "folders">, directory: string): string[] {
  return [...[name, ...folders].map((folder) => join(directory, folder)), directory];
}

/**
 * Finds a data set without reading it: the first edition of which a folder has files, each plain or with `.gz`, else the one in the
 * repository; null where it is nowhere.
 *
 * @throws InputError when some of an edition's files are there and others are not.
 */
export async function findDataset(set: PictureSet, directory: string | undefined): Promise<Found | null> {
  const places = [...(directory === undefined ? [] : placesOf(set, directory)), ...(set.bundled ? [set.bundled] : [])];
  for (const edition of set.editions) {
    const names = Object.keys({ ...edition.train, ...edition.test });
    for (const place of places) {
      const found = await Promise.all(names.map(async (name) => [name, await present(place, name)] as const));
      const missing = found.flatMap(([name, path]) => (path === null ? [name] : []));
      if (missing.length === names.length) continue;
      const paths = Object.fromEntries(found) as Found["paths"];
      if (missing.length === 0) return { edition, directory: place, paths };
      const expectation = `${place} must hold all ${names.length} files of ${edition.name}`;
      const actual = `only ${names.length - missing.length}; missing: ${missing.join(", ")}`;
      throw new InputError("bench.openDataset", expectation, actual, set.fix);
    }
  }
  return null;
}

/**
 * Reads a data set from where {@link findDataset} finds it; `name`, `complete` and `about` of the result say which edition it is.
 *
 * @throws InputError on missing or damaged files, and when a file's sha256 is not the official one.
 */
export async function openDataset(set: PictureSet, directory: string | undefined): Promise<Dataset> {
  const found = await findDataset(set, directory);
  if (found !== null) return readDataset(set, found);
  const { name, train, test } = set.editions[0]!;
  const files = Object.keys({ ...train, ...test }).join(", ");
  const expectation = `${name} must be in the data folder (${files}, each plain or .gz)`;
  const actual = directory === undefined ? "no data folder" : `none of them in ${placesOf(set, directory).join(", ")}`;
  throw new InputError("bench.openDataset", expectation, actual, set.fix);
}

/** Reads a found data set. @throws InputError on damaged files, and when a file's sha256 is not the edition's. */
async function readDataset(set: PictureSet, { edition, directory, paths }: Found): Promise<Dataset> {
  const files: DataFile[] = [];
  const read = async (sums: Sums): Promise<Pictures> => {
    const stored: StoredFile[] = [];
    for (const name of Object.keys(sums)) stored.push(await readStored(paths[name]!));
    const pictures = set.parse(Object.keys(sums).map((name, at) => ({ path: paths[name]!, bytes: stored[at]!.bytes })));
    for (const [at, [name, wanted]] of Object.entries(sums).entries()) {
      const { file, gzip } = stored[at]!;
      const [sum, official] = typeof wanted === "string" ? [file.sha256, wanted] : [gzip, wanted?.gzip ?? null];
      if (sum !== null && official !== null && sum !== official) {
        const expectation = `${paths[name]} must be the ${edition.name} file with sha256 ${official}`;
        throw new InputError("bench.openDataset", expectation, `sha256 ${sum}`, set.fix);
      }
      files.push(file);
    }
    return pictures;
  };
  const [train, test] = [await read(edition.train), await read(edition.test)];
  const counts = `${train.n.toLocaleString("en")} training and ${test.n.toLocaleString("en")} test pictures`;
  const about = `${edition.name}: ${counts} (${directory})`;
  const { classNames, normalisation, augmentation } = set;
  const { name, complete } = edition;
  return { name, complete, about, classNames, normalisation, augmentation, train, test, files };
}

async function present(directory: string, name: string): Promise<string | null> {
  for (const path of [join(directory, name), join(directory, `${name}.gz`)]) {
    const there = await access(path).then(
      () => true,
      () => false,
    );
    if (there) return path;
  }
  return null;
}
