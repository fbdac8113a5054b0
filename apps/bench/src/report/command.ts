import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const IN_REPOSITORY = existsSync(fileURLToPath(new URL("../../../../scripts/bench.mjs", import.meta.url)));

/** A command line of bench as it works for the reader: "run prune-ee" → "npm run -s bench -- run prune-ee", or "bench run prune-ee" where it is installed. */
export function benchCommand(words: string): string {
  return `${IN_REPOSITORY ? "npm run -s bench --" : "bench"} ${words}`;
}
