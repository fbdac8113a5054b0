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
