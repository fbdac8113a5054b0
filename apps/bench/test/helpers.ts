import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Output } from "../src/terminal/output.ts";

const made: string[] = [];

/** A folder that is removed after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "exitkit-bench-"));
  made.push(folder);
  return folder;
}

afterEach(async () => {
  for (const folder of made.splice(0)) await rm(folder, { recursive: true, force: true });
});

/** A stream that remembers. */
export function memory(isTTY = false): Output & { readonly text: () => string } {
  let text = "";
  const write = (part: string) => {
    text += part;
  };
  return { isTTY, write, text: () => text };
}

/** `n` CIFAR-10 records: label i mod 10 and pixels (i + position) mod 256. */
export function records(n: number): Uint8Array {
  const bytes = new Uint8Array(n * 3073);
  for (let row = 0; row < n; row++) {
    bytes[row * 3073] = row % 10;
    for (let at = 0; at < 3072; at++) bytes[row * 3073 + 1 + at] = row + at;
  }
  return bytes;
}
