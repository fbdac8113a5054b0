import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Progress } from "../terminal/progress.ts";
import type { Source } from "./fetch.ts";

/** Bytes a second below which a download is given up. */
const SLOWEST = 10_000;

/** A file on the web whose sum is known. */
export interface RemoteFile {
  readonly url: string;
  /** Algorithm and hex digits of the sum, as its publisher gives it. */
  readonly sum: readonly [algorithm: "md5" | "sha256", hex: string];
  /** Bytes. More than a tenth beyond them are not taken. */
  readonly size: number;
  /** Milliseconds the site has to answer, and later to send the next bytes. */
  readonly timeout: number;
  /**
   * Whether a download that broke off is gone on with the next time: what came so far stays beside the data, as `.NAME.part`.
   * Default: it is begun again.
   */
  readonly resumes?: boolean;
}

/** A file on the web as a place that an archive comes from. */
export function fromWeb(remote: RemoteFile): Source {
  const name = basename(new URL(remote.url).pathname) || "archive";
  return {
    name: remote.url,
    bring: (folder, progress, signal) => download(remote, join(folder, name), progress, signal),
  };
}

/**
 * Downloads a file and checks its sum.
 *
 * @param file In a folder of its own below the one that a part stays in.
 * @returns `file`.
 * @throws Error when the site does not answer in time, sends more than it should or too slowly, or the sum is another one; what
 * was written stays in `file`, or in the part that is gone on with.
 */
export async function download(
  { url, sum, size, timeout, resumes = false }: RemoteFile,
  file: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const written = resumes ? join(dirname(dirname(file)), `.${basename(file)}.part`) : file;
  const stalled = new AbortController();
  const most = Math.ceil(size * 1.1);
  // A byte now and then is no stall, and no download either.
  const deadline = timeout + (most / SLOWEST) * 1000;
  const late = setTimeout(() => stalled.abort(), deadline);
  let taken = 0;
  let timer = setTimeout(() => stalled.abort(), timeout);
  const abort = signal === undefined ? stalled.signal : AbortSignal.any([stalled.signal, signal]);
  let hash = createHash(sum[0]);
  try {
    const had = resumes ? await sizeOf(written) : 0;
    const response = await fetch(url, { signal: abort, ...(had > 0 && { headers: { range: `bytes=${had}-` } }) });
    // All of it is there already, or more: the sum tells.
    const whole = had > 0 && response.status === 416;
    if (!whole && (!response.ok || response.body === null)) throw new Error(`HTTP status ${response.status}`);
    const from = whole || response.status === 206 ? had : 0;
    const stage = progress.stage(`downloading ${url}`, whole ? had : from + lengthOf(response, size - from), "bytes");
    if (from > 0) {
      hash = await hashOf(written, sum[0]);
      taken = from;
      stage.advance(from);
    }
    const watch = new Transform({
      transform(chunk: Buffer, _, done) {
        clearTimeout(timer);
        timer = setTimeout(() => stalled.abort(), timeout);
        taken += chunk.length;
        if (taken > most) {
          done(new Error(`more than the ${size} bytes it should have`));
          return;
        }
        hash.update(chunk);
        stage.advance(chunk.length);
        done(null, chunk);
      },
    });
    if (!whole) {
      const into = createWriteStream(written, { flags: from > 0 ? "a" : "w" });
      await pipeline(response.body!, watch, into, { signal: abort });
    }
    stage.done();
  } catch (error) {
    if (stalled.signal.aborted)
      throw new Error(taken === 0 ? `no answer for ${timeout / 1000} s` : `only ${taken} bytes in time`);
    const cause = error instanceof Error ? (error.cause as NodeJS.ErrnoException | undefined) : undefined;
    throw new Error(cause?.code ?? (error as Error).message, { cause: error });
  } finally {
    clearTimeout(timer);
    clearTimeout(late);
  }
  const got = hash.digest("hex");
  if (got !== sum[1]) {
    if (resumes) await rm(written, { force: true });
    throw new Error(`the archive must have ${sum[0]} ${sum[1]}; got ${got}`);
  }
  if (resumes) await rename(written, file);
  return file;
}

function lengthOf(response: Response, otherwise: number): number {
  return Number(response.headers.get("content-length") ?? otherwise);
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

/** The hash of what is there so far, to go on with. */
async function hashOf(file: string, algorithm: RemoteFile["sum"][0]): Promise<Hash> {
  const hash = createHash(algorithm);
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash;
}
