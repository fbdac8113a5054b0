import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { basename, join } from "node:path";
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
 * @returns `file`.
 * @throws Error when the site does not answer in time, sends more than it should or too slowly, or the sum is another one; what
 * was written stays in `file`.
 */
export async function download(
  { url, sum, size, timeout }: RemoteFile,
  file: string,
  progress: Progress,
  signal: AbortSignal | undefined,
): Promise<string> {
  const stalled = new AbortController();
  const most = Math.ceil(size * 1.1);
  // A byte now and then is no stall, and no download either.
  const deadline = timeout + (most / SLOWEST) * 1000;
  const late = setTimeout(() => stalled.abort(), deadline);
  let taken = 0;
  let timer = setTimeout(() => stalled.abort(), timeout);
  const abort = signal === undefined ? stalled.signal : AbortSignal.any([stalled.signal, signal]);
  const hash = createHash(sum[0]);
  try {
    const response = await fetch(url, { signal: abort });
    if (!response.ok || response.body === null) throw new Error(`HTTP status ${response.status}`);
    const total = Number(response.headers.get("content-length") ?? size);
    const stage = progress.stage(`downloading ${url}`, total, "bytes");
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
    await pipeline(response.body, watch, createWriteStream(file), { signal: abort });
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
  if (got !== sum[1]) throw new Error(`the archive must have ${sum[0]} ${sum[1]}; got ${got}`);
  return file;
}
