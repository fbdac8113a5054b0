import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Sums } from "../src/data/directory.ts";
import { type FetchOptions, fetchableOf, fetchFiles, type Source } from "../src/data/fetch.ts";
import { fashionMnist } from "../src/data/sets/index.ts";
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
export const TINY: Sums = Object.fromEntries(NAMES.map((name) => [name, golden[name].sha256]));

/** Fetches the files of the small package as if they were Fashion-MNIST. */
export function fetchTiny(directory: string, progress: Progress, options: FetchOptions = {}) {
  return fetchFrom([], directory, progress, { archive: DEB, ...options });
}

/** The same from other places. */
export function fetchFrom(sources: readonly Source[], directory: string, progress: Progress, options?: FetchOptions) {
  const [own] = fetchableOf(fashionMnist);
  return fetchFiles({ ...own!, files: TINY, origin: { ...own!.origin, sources } }, directory, progress, options);
}
