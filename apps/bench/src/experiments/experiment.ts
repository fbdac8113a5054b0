import type { DeviceKind } from "@exitkit/core-gpu";
import type { z } from "zod";
import type { DataSource, DatasetName } from "../data/source.ts";
import type { Block } from "../report/markdown.ts";
import type { Report } from "../report/report.ts";
import type { Table } from "../report/table.ts";
import type { RunFolder } from "../runs/run.ts";
import type { Progress } from "../terminal/progress.ts";
import type { Extras, RunOption } from "./options.ts";
import type { Common, OwnValues } from "./result.ts";

/** `quick`: minutes, smaller data and fewer repetitions. `full`: what is quoted. */
export type Preset = "quick" | "full";

/**
 * Something `bench run` can run, with all that is said of it. It lives in a folder of its own; `experiments/rooms.ts` lists it.
 *
 * Type parameters: `S` the schema of its result.json; `P` what its presets decide.
 */
export interface Experiment<S extends z.ZodType<Common> = z.ZodType<Common>, P = unknown> {
  readonly name: string;
  /** What it measures, in a line of `bench list`. */
  readonly title: string;
  /** A sentence or two for `bench list --json`. */
  readonly about: string;
  /** Its name in reports: a few words. */
  readonly heading: string;
  /** What it takes of the options of `bench run` beyond preset, data, device and seed. Default none. */
  readonly takes?: readonly RunOption[];
  /** The data sets it reads where they are there; their editions are part of a run's config. Default none. */
  readonly reads?: readonly DatasetName[];
  readonly presets: Readonly<Record<Preset, P>>;
  /** Of result.json, made by `resultSchema`: a run is checked against it when written, reports and pages are typed by it. */
  readonly schema: S;
  /** Measures. Gives what result.json holds beside what every result holds. */
  run(context: Context, settings: P): Promise<OwnValues<S>>;
  /** What the terminal shows when a run is done. */
  summary(result: z.output<S>): Summary;
  /** Its chapter of the report. */
  report(result: z.output<S>): Report;
  /** Its part of docs/measured.md, from what docs/results holds. */
  measured?(result: z.output<S>, results: Results): readonly Block[];
  /** Its part of README.md. */
  readme?(result: z.output<S>, results: Results): readonly Block[];
  /** What docs/results holds of a full run, and under which name. Default: all of it, under the experiment's. */
  keep?(result: z.output<S>): Kept;
  /** Takes over a file that is no run of bench, e.g. what a peer printed; undefined where it is not such a one. */
  adopt?(text: string): Kept | undefined;
  /**
   * Makes it a part of the tests' main job: its quick preset, on the data in the repository. Throws where a
   * counted quantity of that run is not what it must be, never for a time; returns a line that says what was looked at.
   */
  check?(result: z.output<S>): string;
}

/** What an experiment is given. */
export interface Context {
  readonly preset: Preset;
  readonly seed: number;
  readonly device: DeviceKind | "auto";
  readonly extras: Extras;
  readonly data: DataSource;
  /** Keeps the results of finished steps, each under its own key, so that a killed run goes on. */
  readonly run: RunFolder;
  readonly progress: Progress;
}

/** What the terminal shows at the end. */
export interface Summary {
  readonly table: Table | readonly Table[];
  readonly notes?: readonly string[];
}

/** What docs/results holds: `value`, as `name`.json. */
export interface Kept {
  readonly name?: string;
  readonly value: unknown;
}

/** Everything in docs/results, parsed, by the files' names. */
export type Results = ReadonlyMap<string, unknown>;

/** An experiment; written so that its parts are typed by its own schema and presets, and forgotten to one type for the list. */
export function experiment<S extends z.ZodType<Common>, P>(described: Experiment<S, P>): Experiment {
  return described as Experiment;
}
