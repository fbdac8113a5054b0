import { access, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "@exitkit/core-gpu";
import { type Augmentation, CIFAR_AUGMENTATION } from "./augment.ts";
import { CIFAR10, CIFAR100, type CifarLayout, parseCifar } from "./cifar.ts";
import {
  CIFAR10_OFFICIAL,
  CIFAR10_SUBSET,
  CIFAR100_OFFICIAL,
  CIFAR100_SUBSET,
  type Edition,
  type ExpectedFile,
  FASHION_MNIST,
  KMNIST,
  MNIST,
} from "./editions.ts";
import { parseIdx } from "./idx.ts";
import { CIFAR10_CLASSES, CIFAR100_CLASSES, DIGITS, FASHION_MNIST_CLASSES, KMNIST_CLASSES } from "./names.ts";
import { NORMALISATION, type Normalisation } from "./normalisation.ts";
import { concatPictures, type Pictures } from "./pictures.ts";
import { type DataFile, readStored, type StoredFile } from "./stored.ts";

/** A data set in memory. */
export interface Dataset {
  /** e.g. "CIFAR-10" or "CIFAR-10 subset", for tables and reports. */
  readonly name: string;
  /** One line saying what it is and where it comes from. */
  readonly about: string;
  /** Whether this is the whole official data set; accuracies on anything less must be quoted as such. */
  readonly complete: boolean;
  readonly classNames: readonly string[];
  /** How its pictures become network inputs, and how training pictures are varied. */
  readonly normalisation: Normalisation;
  readonly augmentation: Augmentation;
  readonly train: Pictures;
  readonly test: Pictures;
  /** The files it was read from: training files first. */
  readonly files: readonly DataFile[];
}

/** Where a data set was found: its edition and the path of every file. */
export interface Found {
  readonly edition: Edition;
  readonly directory: string;
  readonly train: readonly string[];
  readonly test: readonly string[];
}

/** How the files of a data set become pictures, and what else belongs to it. */
export interface Format extends Pick<Dataset, "classNames" | "normalisation" | "augmentation"> {
  /** Pictures of the training files or of the test files, in the edition's order. */
  readonly parse: (files: readonly { readonly path: string; readonly bytes: Uint8Array }[]) => Pictures;
  /** What to do about a file with another sum. */
  readonly fix: string;
}

const FETCH_AGAIN = "Fetch the file again.";

/** CIFAR-10's binary version. */
export const CIFAR10_FORMAT: Format = {
  ...cifarFormat(CIFAR10),
  classNames: CIFAR10_CLASSES,
  normalisation: NORMALISATION,
  fix: "Replace it with: bench data cifar10 --data <folder>",
};

const CIFAR100_FORMAT: Format = {
  ...cifarFormat(CIFAR100),
  classNames: CIFAR100_CLASSES,
  normalisation: { mean: [0.507, 0.487, 0.441], deviation: [0.267, 0.256, 0.276] },
  fix: FETCH_AGAIN,
};

/** Fashion-MNIST: clothes may be mirrored. */
export const FASHION_MNIST_FORMAT: Format = {
  parse: parseIdxFiles,
  classNames: FASHION_MNIST_CLASSES,
  normalisation: { mean: [0.286], deviation: [0.353] },
  augmentation: { padding: 2, mirror: true },
  fix: "Replace it with: bench data fashion-mnist --data <folder>",
};

const MNIST_FORMAT: Format = {
  parse: parseIdxFiles,
  classNames: DIGITS,
  normalisation: { mean: [0.1307], deviation: [0.3081] },
  augmentation: { padding: 2, mirror: false },
  fix: FETCH_AGAIN,
};

const KMNIST_FORMAT: Format = {
  ...MNIST_FORMAT,
  classNames: KMNIST_CLASSES,
  normalisation: { mean: [0.1918], deviation: [0.3483] },
};

function cifarFormat(layout: CifarLayout): Pick<Format, "parse" | "augmentation"> {
  return {
    parse: (files) => concatPictures(files.map(({ path, bytes }) => parseCifar(path, bytes, layout))),
    augmentation: CIFAR_AUGMENTATION,
  };
}

/** Ten classes, as MNIST and its relatives all have. */
function parseIdxFiles(files: Parameters<Format["parse"]>[0]): Pictures {
  const [images, labels] = files.map(({ path, bytes }) => ({ source: path, bytes }));
  return parseIdx(images!, labels!, 10);
}

/** Folder of the CIFAR-10 subset inside the repository. */
const SUBSET_DIRECTORY: string = fileURLToPath(new URL("../../assets/cifar10", import.meta.url));

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
  if (found?.isDirectory() !== true) {
    throw new InputError(
      "bench",
      `${option === undefined ? "EXITKIT_DATA" : "--data"} must name a folder`,
      `${directory}, ${found === null ? "which does not exist" : "which is not a folder"}`,
      `Fill one with: bench data cifar10 --data ${named}`,
    );
  }
  return directory;
}

/** The folders below `directory` in which CIFAR-10 may lie. */
export function cifar10Places(directory: string): readonly string[] {
  return [directory, join(directory, "cifar10"), join(directory, "cifar-10-batches-bin")];
}

/**
 * The folders below `directory` in which a data set in MNIST's format may lie. All of them have the same file names, so a
 * folder of its own is looked at before `directory` itself.
 */
export function idxPlaces(directory: string, names: readonly string[]): readonly string[] {
  return [...names.map((name) => join(directory, name)), directory];
}

/** The folders of Fashion-MNIST: ours, the one of its repository, torchvision's. */
export const FASHION_MNIST_FOLDERS: readonly string[] = ["fashion-mnist", "fashion", "FashionMNIST/raw"];

/**
 * Finds CIFAR-10 without reading it: the six official files in `directory`, `directory/cifar10` or
 * `directory/cifar-10-batches-bin` (each plain or with `.gz`), else the repository's subset.
 *
 * @throws InputError when some of the six files are there and others are not.
 */
export async function findCifar10(directory: string | undefined): Promise<Found> {
  const found = directory === undefined ? null : await find(cifar10Places(directory), [CIFAR10_OFFICIAL]);
  return found ?? (await find([SUBSET_DIRECTORY], [CIFAR10_SUBSET])) ?? missingSubset();
}

/**
 * Reads CIFAR-10 from where {@link findCifar10} finds it; `name`, `complete` and `about` of the result say which.
 *
 * @throws InputError on missing or damaged files, and when a file's sha256 is not the official one.
 */
export async function openCifar10(directory: string | undefined): Promise<Dataset> {
  return openFound(await findCifar10(directory), CIFAR10_FORMAT);
}

/**
 * Reads CIFAR-100 from `directory`, `directory/cifar100` or `directory/cifar-100-binary`: the official `train.bin` and
 * `test.bin`, else the subset `train_15000.bin` and `test_5000.bin` (each plain or with `.gz`).
 *
 * @throws InputError when it is not there (none comes with the repository), on damaged files, and when a subset file's
 * sha256 is not the recorded one.
 */
export async function openCifar100(directory: string | undefined): Promise<Dataset> {
  const found = await FINDERS.cifar100(directory);
  if (found === null) {
    throw new InputError(
      "bench.openCifar100",
      "CIFAR-100 must be in the data folder (train.bin and test.bin of the binary version)",
      directory === undefined ? "no data folder" : `none of them in ${cifar100Places(directory).join(", ")}`,
      "Unpack https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz there and pass the folder with --data.",
    );
  }
  return openFound(found, CIFAR100_FORMAT);
}

/**
 * Reads Fashion-MNIST, four idx files (each plain or with `.gz`), from `directory/fashion-mnist`, `directory/fashion`,
 * `directory/FashionMNIST/raw` or `directory`.
 *
 * @throws InputError when it is not there, on damaged files, and when a file's sha256 is not the official one.
 */
export async function openFashionMnist(directory: string | undefined): Promise<Dataset> {
  const fix = "Bring it with: bench data fashion-mnist --data <folder>";
  return openIdx("bench.openFashionMnist", directory, IDX.fashionMnist, FASHION_MNIST_FORMAT, fix);
}

/**
 * Reads MNIST, four idx files (each plain or with `.gz`), from `directory/mnist`, `directory/MNIST/raw` or `directory`.
 *
 * @throws InputError when it is not there, on damaged files, and when a file's sha256 is not the official one.
 */
export async function openMnist(directory: string | undefined): Promise<Dataset> {
  const fix = "Put MNIST's four files into <folder>/mnist and pass the folder with --data.";
  return openIdx("bench.openMnist", directory, IDX.mnist, MNIST_FORMAT, fix);
}

/**
 * Reads KMNIST, four idx files (each plain or with `.gz`), from `directory/kmnist`, `directory/KMNIST/raw` or `directory`.
 *
 * @throws InputError when it is not there, on damaged files, and when a gzip file's sha256 is not the official one; no sum
 * of the plain files is known.
 */
export async function openKmnist(directory: string | undefined): Promise<Dataset> {
  const fix =
    "Put KMNIST's four .gz files (http://codh.rois.ac.jp/kmnist/) into <folder>/kmnist and pass it with --data.";
  return openIdx("bench.openKmnist", directory, IDX.kmnist, KMNIST_FORMAT, fix);
}

/** The data sets in MNIST's format, and the names their folders may have. */
const IDX = {
  fashionMnist: { edition: FASHION_MNIST, names: FASHION_MNIST_FOLDERS },
  mnist: { edition: MNIST, names: ["mnist", "MNIST/raw"] },
  kmnist: { edition: KMNIST, names: ["kmnist", "KMNIST/raw"] },
} as const;

type Idx = (typeof IDX)[keyof typeof IDX];

/** The data sets that can be read. */
export type DatasetName = "cifar10" | "cifar100" | keyof typeof IDX;

/**
 * Finds a data set without reading it; null: it is not there, or a part of its files is missing.
 *
 * @throws InputError as {@link findCifar10} does.
 */
export async function findDataset(name: DatasetName, directory: string | undefined): Promise<Found | null> {
  if (name === "cifar10") return findCifar10(directory);
  return FINDERS[name](directory).catch((error: unknown) => {
    if (error instanceof InputError) return null;
    throw error;
  });
}

const FINDERS = {
  cifar100: (directory: string | undefined) =>
    find(directory === undefined ? [] : cifar100Places(directory), [CIFAR100_OFFICIAL, CIFAR100_SUBSET]),
  fashionMnist: (directory: string | undefined) => findIdx(directory, IDX.fashionMnist),
  mnist: (directory: string | undefined) => findIdx(directory, IDX.mnist),
  kmnist: (directory: string | undefined) => findIdx(directory, IDX.kmnist),
} as const;

function cifar100Places(directory: string): readonly string[] {
  return [directory, join(directory, "cifar100"), join(directory, "cifar-100-binary")];
}

function findIdx(directory: string | undefined, { edition, names }: Idx): Promise<Found | null> {
  return find(directory === undefined ? [] : idxPlaces(directory, names), [edition]);
}

async function openIdx(
  caller: string,
  directory: string | undefined,
  idx: Idx,
  format: Format,
  fix: string,
): Promise<Dataset> {
  const { edition, names } = idx;
  const found = await findIdx(directory, idx);
  if (found !== null) return openFound(found, format);
  const files = [...edition.train, ...edition.test].map(({ name }) => name).join(", ");
  throw new InputError(
    caller,
    `${edition.name} must be in the data folder (${files}, each plain or .gz)`,
    directory === undefined ? "no data folder" : `none of them in ${idxPlaces(directory, names).join(", ")}`,
    fix,
  );
}

/**
 * Reads a found data set.
 *
 * @throws InputError on damaged files, and when a file's sha256 is not the edition's.
 */
export async function openFound(found: Found, format: Format): Promise<Dataset> {
  const { edition } = found;
  const files: DataFile[] = [];
  const read = async (paths: readonly string[], expected: readonly ExpectedFile[]): Promise<Pictures> => {
    const stored: StoredFile[] = [];
    for (const path of paths) stored.push(await readStored(path));
    const pictures = format.parse(stored.map(({ bytes }, index) => ({ path: paths[index]!, bytes })));
    for (const [index, path] of paths.entries()) checkSum(edition, path, expected[index]!, stored[index]!, format.fix);
    files.push(...stored.map(({ file }) => file));
    return pictures;
  };
  const train = await read(found.train, edition.train);
  const test = await read(found.test, edition.test);
  const counts = `${train.n.toLocaleString("en")} training and ${test.n.toLocaleString("en")} test pictures`;
  const about = `${edition.name}: ${counts} (${found.directory})`;
  const { classNames, normalisation, augmentation } = format;
  return {
    name: edition.name,
    about,
    complete: edition.complete,
    classNames,
    normalisation,
    augmentation,
    train,
    test,
    files,
  };
}

function checkSum(edition: Edition, path: string, wanted: ExpectedFile, stored: StoredFile, fix: string): void {
  const [sum, official] =
    wanted.sha256 === null ? [stored.gzip, wanted.gzip ?? null] : [stored.file.sha256, wanted.sha256];
  if (sum === null || official === null || sum === official) return;
  const expectation = `${path} must be the ${edition.name} file with sha256 ${official}`;
  throw new InputError("bench.openDataset", expectation, `sha256 ${sum}`, fix);
}

/** The first edition that lies whole in one of the places; an official one is looked for everywhere first. */
async function find(places: readonly string[], editions: readonly Edition[]): Promise<Found | null> {
  for (const edition of editions) {
    for (const directory of places) {
      const expected = [...edition.train, ...edition.test];
      const paths = await Promise.all(expected.map(({ name }) => present(directory, name)));
      const missing = expected.filter((_, index) => paths[index] === null);
      if (missing.length === expected.length) continue;
      if (missing.length === 0) {
        const all = paths as string[];
        return {
          edition,
          directory,
          train: all.slice(0, edition.train.length),
          test: all.slice(edition.train.length),
        };
      }
      const command = { [CIFAR10_OFFICIAL.name]: "cifar10", [FASHION_MNIST.name]: "fashion-mnist" }[edition.name];
      throw new InputError(
        "bench.openDataset",
        `${directory} must hold all ${expected.length} files of ${edition.name}`,
        `only ${expected.length - missing.length}; missing: ${missing.map(({ name }) => name).join(", ")}`,
        command === undefined ? "Add them." : `Complete it with: bench data ${command} --data ${directory}`,
      );
    }
  }
  return null;
}

async function present(directory: string, name: string): Promise<string | null> {
  for (const path of [join(directory, name), join(directory, `${name}.gz`)]) {
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return path;
  }
  return null;
}

function missingSubset(): never {
  throw new InputError(
    "bench.openCifar10",
    `the repository's CIFAR-10 subset must be in ${SUBSET_DIRECTORY}`,
    "missing files",
    "Check the files out again, or pass a folder with the whole data set with --data.",
  );
}
