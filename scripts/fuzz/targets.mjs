import { existsSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as bench from "./readers/bench.mjs";
import * as core from "./readers/core-gpu.mjs";
import * as llm from "./readers/llm-exit-init.mjs";
import * as methods from "./readers/methods.mjs";
import { from } from "./readers/places.mjs";

/** Readers by where they are. */
const KINDS = {
  "core-gpu": core.targets,
  methods: methods.targets,
  "llm-exit-init": llm.targets,
  bench: bench.targets,
};

/** @typedef {keyof typeof KINDS} Kind */

/** Files in memory: what is synced to a disk that is none takes no time. */
const folders = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/**
 * The readers of everything that comes from outside, with valid files to begin from: `{ name, seeds, read, expected }`, and `beside`,
 * the bytes of other files that are read with each; `accepts` where nothing is refused.
 *
 * @param {readonly Kind[]} [kinds] Default all.
 */
export async function targets(kinds = /** @type {Kind[]} */ (Object.keys(KINDS))) {
  const { InputError } = await from("packages/core-gpu/src/index.ts");
  const found = [];
  for (const kind of kinds) {
    const folder = await mkdtemp(join(folders, "fuzz-"));
    process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
    found.push(...(await KINDS[kind](folder)));
  }
  const refused = (error) => error instanceof InputError;
  // What unpacks archives throws plain errors, which the one that fetches them turns into its own.
  const plain = (error) =>
    refused(error) ||
    (error instanceof Error &&
      ![TypeError, RangeError, ReferenceError, SyntaxError].some((kind) => error instanceof kind));
  return found.map((target) => ({ ...target, expected: target.unpacks ? plain : refused }));
}
