import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { ExpectedFile } from "../src/data/editions.ts";
import type { FetchOptions } from "../src/data/fetch.ts";
import { fetchFashionMnist } from "../src/data/fetch-fashion-mnist.ts";
import type { Progress } from "../src/terminal/progress.ts";

/** What fixtures/idx.py packed. */
export const golden = JSON.parse(await readFile(new URL("../fixtures/idx.json", import.meta.url), "utf8"));

/** A small package built by dpkg-deb like Debian's. */
export const DEB: string = fileURLToPath(new URL("../fixtures/fashion-tiny.deb", import.meta.url));

/** Names of the four files, training pictures first. */
export const NAMES: readonly string[] = ["train", "t10k"].flatMap((part) => [
  `${part}-images-idx3-ubyte`,
  `${part}-labels-idx1-ubyte`,
]);

/** The files of the small package. */
export const TINY: readonly ExpectedFile[] = NAMES.map((name) => ({ name, sha256: golden[name].sha256 }));

/** Fetches the files of the small package as if they were Fashion-MNIST. */
export function fetchTiny(directory: string, progress: Progress, options: FetchOptions = {}) {
  return fetchFashionMnist(directory, progress, { archive: DEB, ...options, sources: { packages: [], files: TINY } });
}
