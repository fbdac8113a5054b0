import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach } from "vitest";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/**
 * A server that sends one body to everybody until the test ends; null never answers.
 *
 * @param declared Sends the body, but says it has that many bytes, and hangs up.
 * @returns Its address.
 */
export async function serve(body: Uint8Array | null, declared?: number): Promise<string> {
  const server = createServer((_, response) => {
    if (body === null) return;
    response.writeHead(200, { "content-length": declared ?? body.length });
    response.write(body);
    if (declared === undefined) response.end();
    else setTimeout(() => response.destroy(), 20);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

/** What a request to {@link serveFile} asked for. */
export interface Asked {
  readonly path: string;
  readonly range: string | undefined;
}

/**
 * A site that sends a file, or the range of it that is asked for.
 *
 * @param breaks Hangs up after so many bytes of an answer, the first time that the file is sent.
 * @returns Its address, and what it was asked for.
 */
export async function serveFile(
  file: Uint8Array,
  { breaks = Number.POSITIVE_INFINITY, ranges = true }: { readonly breaks?: number; readonly ranges?: boolean } = {},
): Promise<{ readonly url: string; readonly asked: readonly Asked[] }> {
  const asked: Asked[] = [];
  let left = breaks;
  const server = createServer(({ url = "/", headers: { range } }, response) => {
    asked.push({ path: url, range });
    const [, from = "0", to] = (ranges && /^bytes=(\d+)-(\d*)$/.exec(range ?? "")) || [];
    const part = file.subarray(Number(from), to === undefined || to === "" ? file.length : Number(to) + 1);
    if (Number(from) >= file.length) return response.writeHead(416).end();
    const about = { "content-length": part.length, etag: '"one"', "accept-ranges": "bytes" };
    const found = `bytes ${from}-${Number(from) + part.length - 1}/${file.length}`;
    response.writeHead(ranges && range !== undefined ? 206 : 200, { ...about, "content-range": found });
    if (part.length <= left) return response.end(part);
    response.write(part.subarray(0, left));
    left = Number.POSITIVE_INFINITY;
    setTimeout(() => response.destroy(), 20);
    return response;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}
