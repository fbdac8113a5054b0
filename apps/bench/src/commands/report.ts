import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { InputError, writeFileAtomic } from "@exitkit/core-gpu";
import type { Experiment } from "../experiments/experiment.ts";
import { EXPERIMENTS } from "../experiments/index.ts";
import { readResult } from "../experiments/result.ts";
import { benchCommand } from "../report/command.ts";
import { page } from "../report/page.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** `bench report`: one page from the results of runs; without folders, the best finished run of each experiment. */
export async function report(
  folders: readonly string[],
  options: { readonly out?: string },
  experiments: readonly Experiment[],
  terminal: Terminal,
): Promise<void> {
  const chosen = folders.length > 0 ? folders.map((folder) => resolve(folder)) : await bestRuns("runs", experiments);
  const results: unknown[] = [];
  for (const folder of chosen) results.push(await readRun(folder));
  const out = resolve(options.out ?? "report.html");
  await writeReport(results, out, experiments);
  for (const folder of chosen) terminal.line(`from ${folder}`);
  terminal.link(out);
  terminal.result({ report: out, runs: chosen });
}

/**
 * The report of these results as one self-contained HTML page: light and dark, printable, without scripts or anything
 * fetched.
 *
 * @param results Parsed result.json files, the first is the headline; what a result lacks is shown as not measured.
 * @throws InputError when there is no result, or one is not what `bench run` writes.
 */
export function renderReport(results: readonly unknown[], experiments: readonly Experiment[] = EXPERIMENTS): string {
  if (results.length === 0) {
    const fix = `Run one: ${benchCommand("run <experiment>")}`;
    throw new InputError("bench.report", "there must be at least one result", "none", fix);
  }
  const chapters = results.map((json, index) => {
    const { experiment, result } = readResult(json, experiments, `result ${index + 1}`);
    const { name, heading } = experiment;
    return { name, heading, result, report: experiment.report(result) };
  });
  const missing = experiments.filter(({ name }) => !chapters.some((chapter) => chapter.name === name));
  return page(chapters, missing);
}

/**
 * Writes {@link renderReport}'s page to `path`, whole or not at all.
 *
 * @throws InputError as renderReport does, or when the file cannot be written.
 */
export async function writeReport(
  results: readonly unknown[],
  path: string,
  experiments: readonly Experiment[] = EXPERIMENTS,
): Promise<void> {
  await writeFileAtomic(path, renderReport(results, experiments));
}

/** The result of a run's folder, or of a file. */
export async function readRun(folder: string): Promise<unknown> {
  const file = (await stat(folder).catch(() => null))?.isFile() ? folder : join(folder, "result.json");
  const fix = "Finish it with bench run, or name the folder of a finished run.";
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    const expectation = `${folder} must hold a finished run's result.json`;
    throw new InputError("bench report", expectation, `${error.code}`, fix, error);
  });
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError("bench report", `${file} must be JSON`, (error as Error).message, fix, error);
  }
}

/** Of each experiment the full preset rather than the quick one, then the latest; in the order of `bench list`. */
async function bestRuns(below: string, experiments: readonly Experiment[]): Promise<readonly string[]> {
  const finished: { folder: string; experiment: unknown; rank: string }[] = [];
  for (const name of await readdir(below).catch(() => [] as string[])) {
    const folder = resolve(below, name);
    const written = (await stat(join(folder, "result.json")).catch(() => null))?.mtime;
    if (written === undefined) continue;
    const { experiment, preset } = (await readRun(folder)) as { experiment?: unknown; preset?: unknown };
    finished.push({ folder, experiment, rank: `${preset === "full" ? 1 : 0} ${written.toISOString()}` });
  }
  const best = experiments.flatMap(({ name }) => {
    const runs = finished.filter(({ experiment }) => experiment === name);
    return runs.sort((a, b) => a.rank.localeCompare(b.rank)).slice(-1);
  });
  if (best.length > 0) return best.map(({ folder }) => folder);
  const expectation = `there must be a finished run in ${resolve(below)}`;
  const fix = `Run one first (${benchCommand("run <experiment>")}), or name its folder.`;
  throw new InputError("bench report", expectation, "none", fix);
}
