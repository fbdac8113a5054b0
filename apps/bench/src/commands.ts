import { mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type DeviceKind, InputError } from "@exitkit/core-gpu";
import { dataDirectory } from "./data/directory.ts";
import type { Fetched, FetchOptions } from "./data/fetch.ts";
import { fetchCifar10 } from "./data/fetch-cifar10.ts";
import { fetchFashionMnist } from "./data/fetch-fashion-mnist.ts";
import { doctor } from "./doctor.ts";
import { type Experiment, type Extras, editionsOf, openDataSource, type Preset } from "./experiments/experiment.ts";
import { openRun } from "./runs/run.ts";
import type { Progress } from "./terminal/progress.ts";
import type { Terminal } from "./terminal/terminal.ts";

/** Options of `bench run`. */
export interface RunOptions extends Extras {
  readonly preset: Preset;
  readonly data?: string;
  readonly device: DeviceKind | "auto";
  readonly seed: number;
  readonly out?: string;
  readonly fresh?: boolean;
}

/** `bench list`: the experiments. */
export function list(experiments: readonly Experiment[], terminal: Terminal): void {
  terminal.table(
    ["experiment", "what it measures"],
    experiments.map(({ name, title }) => [name, title]),
  );
  terminal.line("Run one: bench run <experiment> --preset quick");
  terminal.result(experiments.map(({ name, title, about }) => ({ name, title, about })));
}

/** `bench run`: runs an experiment in its folder and writes result.json. */
export async function run(experiment: Experiment, options: RunOptions, terminal: Terminal): Promise<void> {
  const { preset, seed, device } = options;
  const { progress } = terminal;
  const extras = extrasOf(experiment, options);
  const directory = await dataDirectory(options.data);
  const config = {
    experiment: experiment.name,
    preset,
    seed,
    device,
    data: await editionsOf(experiment, directory),
    ...extras,
  };
  const words = Object.entries(extras).map(([name, value]) => `-${name}${[value].flat().join("+")}`);
  const out = resolve(options.out ?? join("runs", `${experiment.name}-${preset}-seed${seed}${words.join("")}`));
  const folder = await openRun(out, config, progress, options.fresh === undefined ? {} : { fresh: options.fresh });
  const data = openDataSource(directory, progress);
  const begun = performance.now();
  const { summary, values } = await experiment.run({
    preset,
    seed,
    device,
    extras,
    data,
    run: folder,
    progress,
  });
  const { environment } = folder;
  const result = { experiment: experiment.name, preset, seed, device, config, environment, ...values };
  await folder.finish(result);
  const page = join(out, "report.html");
  if (experiment.reported !== false) await writePage([result], page);

  terminal.table(summary.head, summary.rows);
  for (const note of summary.notes ?? []) terminal.line(note);
  terminal.line(`result: ${join(out, "result.json")} (${Math.round((performance.now() - begun) / 1000)} s)`);
  if (experiment.reported !== false) terminal.line(`report: ${page}`);
  terminal.result(result);
}

/** The extra options that were given, checked against what the experiment understands. */
function extrasOf(experiment: Experiment, { seeds, pictures, epochs, datasets }: Extras): Extras {
  const given = Object.entries({ seeds, pictures, epochs, datasets }).filter(([, value]) => value !== undefined);
  const unknown = given.find(([name]) => !experiment.takes?.includes(name as keyof Extras));
  if (unknown !== undefined) {
    throw new InputError("bench run", `${experiment.name} takes no --${unknown[0]}`, `--${unknown[0]} ${unknown[1]}`);
  }
  return Object.fromEntries(given);
}

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
  await writePage(results, out);
  for (const folder of chosen) terminal.line(`from ${folder}`);
  terminal.line(out);
  terminal.result({ report: out, runs: chosen });
}

/** Plotting is slow to load and needed by no other command. */
async function writePage(results: readonly unknown[], file: string): Promise<void> {
  const { writeReport } = await import("./report/report.ts");
  await writeReport(results, file);
}

async function readRun(folder: string): Promise<unknown> {
  const file = (await stat(folder).catch(() => null))?.isFile() ? folder : join(folder, "result.json");
  const fix = "Finish it with bench run, or name the folder of a finished run.";
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    throw new InputError(
      "bench report",
      `${folder} must hold a finished run's result.json`,
      `${error.code}`,
      fix,
      error,
    );
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
  throw new InputError(
    "bench report",
    expectation,
    "none",
    "Run one first (bench run <experiment>), or name its folder.",
  );
}

/** The data sets that `bench data` brings. */
export const FETCHABLE = {
  cifar10: { title: "CIFAR-10", fetch: fetchCifar10 },
  "fashion-mnist": { title: "Fashion-MNIST", fetch: fetchFashionMnist },
} as const satisfies Readonly<
  Record<string, { title: string; fetch: (to: string, shown: Progress, options: FetchOptions) => Promise<Fetched> }>
>;

/** `bench data`: brings all pictures of a data set. */
export async function data(
  name: keyof typeof FETCHABLE,
  options: { readonly data?: string; readonly archive?: string },
  terminal: Terminal,
): Promise<void> {
  const { title, fetch } = FETCHABLE[name];
  const directory = resolve(options.data ?? process.env.EXITKIT_DATA ?? "data");
  await mkdir(directory, { recursive: true });
  const interrupted = new AbortController();
  const interrupt = () =>
    interrupted.abort(new Error("interrupted; the files already written stay, call it again to go on"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const fetched = await fetch(directory, terminal.progress, {
      signal: interrupted.signal,
      ...(options.archive === undefined ? {} : { archive: options.archive }),
    });
    const { kept, written, source } = fetched;
    terminal.line(
      written.length === 0
        ? `${title} is complete in ${fetched.directory}`
        : `${title}: ${written.length} files written to ${fetched.directory} from ${source}, ${kept.length} kept`,
    );
    terminal.line(`Use it: bench run <experiment> --data ${directory}`);
    terminal.result(fetched);
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}

/** `bench doctor`: what works on this machine. */
export async function checkUp(options: { readonly data?: string }, terminal: Terminal): Promise<boolean> {
  const checks = await doctor(options.data);
  terminal.table(
    ["", "check", "found"],
    checks.map(({ state, name, found }) => [state, name, found]),
  );
  for (const { name, fix } of checks) if (fix !== null) terminal.line(`${name}: ${fix}`);
  const ok = checks.every(({ state }) => state !== "fails");
  terminal.line(ok ? "Everything needed is here." : "Something needed is missing: see above.");
  terminal.result({ ok, checks });
  return ok;
}
