import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import type { Experiment, Kept, Results } from "../experiments/experiment.ts";
import { readResult } from "../experiments/result.ts";
import { markdown } from "../report/markdown.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { readRun } from "./report.ts";

/** The repository, of which `docs/results`, `docs/measured.md` and `README.md` are read and written. */
const ROOT = fileURLToPath(new URL("../../../..", import.meta.url));

/**
 * `bench measured`: puts measured numbers into README.md and docs/measured.md, so that none of them is typed by hand.
 *
 * @param runs Folders of finished runs, or files that an experiment takes over (what a peer printed); their results go to
 * docs/results first.
 * @param options.check Writes nothing.
 * @returns Whether the pages said what docs/results says; true when they were written.
 */
export async function measured(
  runs: readonly string[],
  options: { readonly check?: boolean },
  experiments: readonly Experiment[],
  terminal: Terminal,
  root: string = ROOT,
): Promise<boolean> {
  const folder = join(root, "docs", "results");
  for (const run of runs) {
    const { name, value } = await takeOver(resolve(run), experiments);
    await mkdir(folder, { recursive: true });
    await writeFileAtomic(join(folder, `${name}.json`), `${JSON.stringify(value, null, 1)}\n`);
  }
  const results = new Map<string, unknown>();
  for (const file of (await readdir(folder)).sort()) {
    results.set(file.replace(/\.json$/, ""), JSON.parse(await readFile(join(folder, file), "utf8")));
  }
  const readme = join(root, "README.md");
  const page = join(root, "docs", "measured.md");
  const pages: readonly (readonly [file: string, text: string])[] = [
    [readme, withMeasured(await readFile(readme, "utf8"), readmePart(experiments, results))],
    [page, `${measuredPage(experiments, results)}\n`],
  ];
  let same = true;
  for (const [file, text] of pages) {
    if (options.check !== true) await writeFileAtomic(file, text);
    else if ((await readFile(file, "utf8").catch(() => "")) !== text) {
      same = false;
      terminal.error(new Error(`${file} does not say what docs/results says: run bench measured`));
    }
  }
  return same;
}

/** docs/measured.md from what docs/results holds. */
function measuredPage(experiments: readonly Experiment[], results: Results): string {
  const parts = kept(experiments, results).flatMap(
    ({ experiment, result }) => experiment.measured?.(result, results) ?? [],
  );
  const source = "Written by `bench measured` from `docs/results`, which are results of `bench run … --preset full`.";
  return markdown(["# What was measured", source, ...parts]);
}

/** The README's lines. */
function readmePart(experiments: readonly Experiment[], results: Results): string {
  return markdown(
    kept(experiments, results).flatMap(({ experiment, result }) => experiment.readme?.(result, results) ?? []),
  );
}

function kept(experiments: readonly Experiment[], results: Results) {
  return experiments.flatMap(({ name }) =>
    results.has(name) ? [readResult(results.get(name), experiments, `docs/results/${name}.json`)] : [],
  );
}

function withMeasured(readme: string, part: string): string {
  return readme.replace(
    /<!-- measured -->[\s\S]*?<!-- end of measured -->/,
    () => `<!-- measured -->\n${part}\n<!-- end of measured -->`,
  );
}

/** What docs/results holds of a run or of a file. */
async function takeOver(path: string, experiments: readonly Experiment[]): Promise<Required<Kept>> {
  if ((await stat(path).catch(() => null))?.isFile() === true) {
    const text = await readFile(path, "utf8");
    for (const { name, adopt } of experiments) {
      const found = adopt?.(text);
      if (found !== undefined) return { name, ...found };
    }
    throw new InputError("bench measured", `${path} must be a run's folder, or a file an experiment knows`, "neither");
  }
  const { experiment, result } = readResult(await readRun(path), experiments, path);
  return { name: experiment.name, ...(experiment.keep?.(result) ?? { value: result }) };
}
