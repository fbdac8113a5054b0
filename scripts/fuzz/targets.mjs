import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as bench from "./readers/bench.mjs";
import * as core from "./readers/core-gpu.mjs";
import * as llm from "./readers/llm-exit-init.mjs";
import * as methods from "./readers/methods.mjs";
import { from } from "./readers/places.mjs";

/**
 * The readers of everything that comes from outside, with valid files to begin from: `{ name, seeds, read, expected }`, and `beside`,
 * the bytes of other files that are read with each; `accepts` where nothing is refused, `slow` where each takes a
 * millisecond or more: a short drill takes fewer.
 */
export async function targets() {
  const { InputError } = await from("packages/core-gpu/src/index.ts");
  const found = [];
  for (const { targets: own } of [core, methods, llm, bench])
    found.push(...(await own(await mkdtemp(join(tmpdir(), "fuzz-")))));
  const refused = (error) => error instanceof InputError;
  // What unpacks archives throws plain errors, which the one that fetches them turns into its own.
  const plain = (error) =>
    refused(error) ||
    (error instanceof Error &&
      ![TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind));
  return found.map((target) => ({ ...target, expected: target.unpacks ? plain : refused }));
}
