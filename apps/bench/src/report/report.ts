import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import { page } from "./page.ts";
import { readResult } from "./types.ts";

/**
 * The report of these results as one self-contained HTML page: light and dark, printable, without scripts or anything
 * fetched.
 *
 * @param results Parsed result.json files, the first is the headline; what a result lacks is shown as not measured.
 * @throws InputError when there is no result, or one is not what `bench run` writes.
 */
export function renderReport(results: readonly unknown[]): string {
  if (results.length === 0) {
    throw new InputError(
      "bench.report",
      "there must be at least one result",
      "none",
      "Run one: bench run e2cm-cifar10",
    );
  }
  return page(results.map((result, index) => readResult(result, `result ${index + 1}`)));
}

/**
 * Writes {@link renderReport}'s page to `path`, whole or not at all.
 *
 * @throws InputError as renderReport does, or when the file cannot be written.
 */
export async function writeReport(results: readonly unknown[], path: string): Promise<void> {
  await writeFileAtomic(path, renderReport(results));
}
