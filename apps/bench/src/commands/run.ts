import { join, resolve } from "node:path";
import { type DeviceKind, InputError } from "@exitkit/core-gpu";
import { dataDirectory } from "../data/directory.ts";
import { editionsOf, openDataSource } from "../data/source.ts";
import type { Experiment, Preset } from "../experiments/experiment.ts";
import { type Extras, nameOf, type RunOption } from "../experiments/options.ts";
import { checkResult } from "../experiments/result.ts";
import type { Table } from "../report/table.ts";
import { openRun } from "../runs/run.ts";
import type { Terminal } from "../terminal/terminal.ts";
import { writeReport } from "./report.ts";

/** Options of `bench run`; what only some experiments take stands beside them. */
export interface RunOptions extends Extras {
  readonly preset: Preset;
  readonly data?: string;
  readonly device: DeviceKind | "auto";
  readonly seed: number;
  readonly out?: string;
  readonly fresh?: boolean;
}

/** `bench run`: runs an experiment in its folder and writes result.json and report.html. */
export async function run(
  experiment: Experiment,
  options: RunOptions,
  experiments: readonly Experiment[],
  terminal: Terminal,
): Promise<void> {
  const { preset, seed, device } = options;
  const { progress } = terminal;
  const extras = extrasOf(experiment, options, experiments);
  const directory = await dataDirectory(options.data);
  const editions = await editionsOf(experiment.reads ?? [], directory);
  const passing = (experiment.takes ?? []).filter((option) => option.passing === true).map(nameOf);
  const decisive = Object.fromEntries(Object.entries(extras).filter(([name]) => !passing.includes(name)));
  const config = { experiment: experiment.name, preset, seed, device, data: editions, ...decisive };
  const words = Object.entries(decisive).map(([name, value]) => `-${name}${[value].flat().join("+")}`);
  const out = resolve(options.out ?? join("runs", `${experiment.name}-${preset}-seed${seed}${words.join("")}`));
  const folder = await openRun(out, config, progress, options.fresh === undefined ? {} : { fresh: options.fresh });
  const data = openDataSource(directory, progress);
  const begun = performance.now();
  const context = { preset, seed, device, extras, data, run: folder, progress };
  const values = await experiment.run(context, experiment.presets[preset]);
  const { environment } = folder;
  const written = { experiment: experiment.name, preset, seed, device, config, environment, ...values };
  const result = checkResult(experiment, written);
  await folder.finish(written);
  const page = join(out, "report.html");
  await writeReport([written], page, experiments);

  const { table, notes = [] } = experiment.summary(result);
  for (const one of [table].flat() as Table[]) terminal.table(one);
  for (const note of notes) terminal.line(note);
  terminal.line(`result: ${join(out, "result.json")} (${Math.round((performance.now() - begun) / 1000)} s)`);
  terminal.link(page);
  terminal.result(written);
}

/** The options that only some experiments take, one of each name. */
export function extraOptions(experiments: readonly Experiment[]): readonly RunOption[] {
  const all = experiments.flatMap(({ takes = [] }) => takes);
  return [...new Map(all.map((option) => [nameOf(option), option])).values()];
}

/** Those that were given, checked against what the experiment takes. */
function extrasOf(experiment: Experiment, options: RunOptions, experiments: readonly Experiment[]): Extras {
  const given = extraOptions(experiments).filter((option) => options[nameOf(option)] !== undefined);
  const taken = new Set((experiment.takes ?? []).map(nameOf));
  for (const name of given.map(nameOf)) {
    if (taken.has(name)) continue;
    throw new InputError("bench run", `${experiment.name} takes no --${name}`, `--${name} ${options[name]}`);
  }
  return Object.fromEntries(given.map((option) => [nameOf(option), options[nameOf(option)]]));
}
