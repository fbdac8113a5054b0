import { access, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError } from "@exitkit/core-gpu";
import {
  CIFAR10,
  CIFAR100,
  type CifarLayout,
  concatPictures,
  type DataFile,
  type Pictures,
  readCifar,
} from "./cifar.ts";
import { CIFAR10_CLASSES, CIFAR100_CLASSES } from "./names.ts";

/** A data set in memory. */
export interface Dataset {
  /** e.g. "CIFAR-10" or "CIFAR-10 subset", for tables and reports. */
  readonly name: string;
  /** One line saying what it is and where it comes from. */
  readonly about: string;
  /** Whether this is the whole official data set; accuracies on anything less must be quoted as such. */
  readonly complete: boolean;
  readonly classNames: readonly string[];
  readonly train: Pictures;
  readonly test: Pictures;
  /** The files it was read from: training files first. */
  readonly files: readonly DataFile[];
}

/** One way a data set can lie in a folder: file names, and where known the sha256 of their uncompressed bytes. */
export interface Edition {
  readonly name: string;
  readonly complete: boolean;
  readonly train: readonly ExpectedFile[];
  readonly test: readonly ExpectedFile[];
}

/** A file of an edition; `sha256` null where no official sum is known. */
export interface ExpectedFile {
  readonly name: string;
  readonly sha256: string | null;
}

/** Where a data set was found: its edition and the path of every file. */
export interface Found {
  readonly edition: Edition;
  readonly directory: string;
  readonly train: readonly string[];
  readonly test: readonly string[];
}

/** The six official files of CIFAR-10's binary version. */
export const CIFAR10_OFFICIAL: Edition = {
  name: "CIFAR-10",
  complete: true,
  train: [
    { name: "data_batch_1.bin", sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5" },
    { name: "data_batch_2.bin", sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed" },
    { name: "data_batch_3.bin", sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67" },
    { name: "data_batch_4.bin", sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48" },
    { name: "data_batch_5.bin", sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add" },
  ],
  test: [{ name: "test_batch.bin", sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b" }],
};

/** The part of CIFAR-10 that comes with the repository. */
export const CIFAR10_SUBSET: Edition = {
  name: "CIFAR-10 subset",
  complete: false,
  train: [{ name: "train_5000.bin", sha256: "25c919756e77f926c2ce5d52f3af2a33de8d75ff7868e4fcd0fa499745217b8d" }],
  test: [{ name: "test_2500.bin", sha256: "3b39f4f45fd9af042d41e1e1d7abb42a145ec6a4eb67b4231d46881110107df5" }],
};

const CIFAR100_OFFICIAL: Edition = {
  name: "CIFAR-100",
  complete: true,
  train: [{ name: "train.bin", sha256: null }],
  test: [{ name: "test.bin", sha256: null }],
};

const CIFAR100_SUBSET: Edition = {
  name: "CIFAR-100 subset",
  complete: false,
  train: [{ name: "train_15000.bin", sha256: "69b5843e87ec6c9e5b9e5f0d9a4557288152d7caa9559da4bcaef0d153486b40" }],
  test: [{ name: "test_5000.bin", sha256: "4174bb5316d4ff9cf62b432fc5b70cc6c58fb0357e91195a31987546c3e9fc70" }],
};

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
  return openFound(await findCifar10(directory), CIFAR10, CIFAR10_CLASSES);
}

/**
 * Reads CIFAR-100 from `directory`, `directory/cifar100` or `directory/cifar-100-binary`: the official `train.bin` and
 * `test.bin`, else the subset `train_15000.bin` and `test_5000.bin` (each plain or with `.gz`).
 *
 * @throws InputError when it is not there (none comes with the repository), on damaged files, and when a subset file's
 * sha256 is not the recorded one.
 */
export async function openCifar100(directory: string | undefined): Promise<Dataset> {
  const places =
    directory === undefined ? [] : [directory, join(directory, "cifar100"), join(directory, "cifar-100-binary")];
  const found = await find(places, [CIFAR100_OFFICIAL, CIFAR100_SUBSET]);
  if (found === null) {
    throw new InputError(
      "bench.openCifar100",
      "CIFAR-100 must be in the data folder (train.bin and test.bin of the binary version)",
      directory === undefined ? "no data folder" : `none of them in ${places.join(", ")}`,
      "Unpack https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz there and pass the folder with --data.",
    );
  }
  return openFound(found, CIFAR100, CIFAR100_CLASSES);
}

/**
 * Reads a found data set.
 *
 * @throws InputError on damaged files, and when a file's sha256 is not the edition's.
 */
export async function openFound(found: Found, layout: CifarLayout, classNames: readonly string[]): Promise<Dataset> {
  const { edition } = found;
  const files: DataFile[] = [];
  const read = async (paths: readonly string[], expected: readonly ExpectedFile[]): Promise<Pictures> => {
    const parts: Pictures[] = [];
    for (const [index, path] of paths.entries()) {
      const { pictures, file } = await readCifar(path, layout);
      const wanted = expected[index]!.sha256;
      if (wanted !== null && wanted !== file.sha256) {
        throw new InputError(
          "bench.openDataset",
          `${path} must be the ${edition.name} file with sha256 ${wanted}`,
          `sha256 ${file.sha256}`,
          edition.complete && layout === CIFAR10
            ? "Replace it with: bench data cifar10 --data <folder>"
            : "Fetch the file again.",
        );
      }
      parts.push(pictures);
      files.push(file);
    }
    return concatPictures(parts);
  };
  const train = await read(found.train, edition.train);
  const test = await read(found.test, edition.test);
  const counts = `${train.n.toLocaleString("en")} training and ${test.n.toLocaleString("en")} test pictures`;
  const about = `${edition.name}: ${counts} (${found.directory})`;
  return { name: edition.name, about, complete: edition.complete, classNames, train, test, files };
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
      throw new InputError(
        "bench.openDataset",
        `${directory} must hold all ${expected.length} files of ${edition.name}`,
        `only ${expected.length - missing.length}; missing: ${missing.map(({ name }) => name).join(", ")}`,
        edition === CIFAR10_OFFICIAL ? `Complete it with: bench data cifar10 --data ${directory}` : "Add them.",
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
