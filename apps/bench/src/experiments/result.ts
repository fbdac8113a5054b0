import { InputError } from "@exitkit/core-gpu";
import { z } from "zod";
import { amount } from "../measuring/ranges.ts";
import { environmentSchema } from "../runs/environment.ts";
import type { Experiment } from "./experiment.ts";

/** A list that may be missing from a file; a report then says that it was not measured. */
export const list = <T extends z.ZodType>(item: T) => z.array(item).readonly().default([]);

/** A file that something was computed from. */
export const fileSchema = z.object({ name: z.string(), sha256: z.string() });

/** Pretrained weights and their file. */
export const weightSchema = z.object({ backbone: z.string(), file: z.string(), sha256: z.string() });

/** The data set of a run. */
export const dataSchema = z.object({
  name: z.string(),
  complete: z.boolean().optional(),
  train: amount,
  test: amount,
  files: list(fileSchema),
});

/** The machine a run was made on; older results may lack parts. */
const known = environmentSchema.partial().loose();

/** As it is, its keys in their order. */
const environment = z.custom<z.output<typeof known>>((value) => known.safeParse(value).success);

/** What every result.json says. */
const common = {
  experiment: z.string(),
  preset: z.string(),
  seed: z.number(),
  device: z.string(),
  config: z.record(z.string(), z.unknown()).default({}),
  environment: environment.default({}),
  /** The device that "auto" came to. */
  ranOn: z.string().optional(),
};

/** What every result holds, whatever its experiment. */
export type Common = z.output<z.ZodObject<typeof common>>;

/** What a run of an experiment gives: its schema without what the runner adds. */
export type OwnValues<S extends z.ZodType> = Omit<z.input<S>, Exclude<keyof Common, "ranOn">>;

/**
 * The schema of an experiment's result.json: what every result says, and these.
 *
 * Accuracies, shares and cost fractions are fractions of 1; MACs are a sample; times are in the unit their names say, medians over
 * `runs` interleaved repetitions.
 */
export function resultSchema<T extends z.ZodRawShape>(own: T) {
  return z.object({ ...common, ...own });
}

/**
 * Finds the experiment of a parsed result.json and checks the result; missing lists become empty ones.
 *
 * @param source Named in the error, e.g. the file's path.
 * @throws InputError naming the first value that does not fit.
 */
export function readResult(
  json: unknown,
  experiments: readonly Experiment[],
  source: string,
): { readonly experiment: Experiment; readonly result: Common } {
  const name = (json as { readonly experiment?: unknown } | null)?.experiment;
  const experiment = experiments.find((one) => one.name === name);
  const parsed = experiment?.schema.safeParse(json);
  if (experiment !== undefined && parsed?.success) return { experiment, result: parsed.data };
  const issue = parsed?.error?.issues[0] ?? { path: ["experiment"], message: `no experiment is called ${name}` };
  const place = issue.path.length === 0 ? source : `${issue.path.join(".")} of ${source}`;
  throw new InputError(
    "bench.report",
    `${place} must be what bench run writes`,
    issue.message.replace(/\.$/, ""),
    "Pass the folder of a finished run of an experiment in bench list.",
  );
}

/**
 * Checks what a run is about to write.
 *
 * @throws Error naming the first value that the experiment's schema does not allow or does not know.
 */
export function checkResult({ name, schema }: Experiment, written: unknown): Common {
  const json: unknown = JSON.parse(JSON.stringify(written));
  const parsed = schema.safeParse(json);
  const issue = parsed.error?.issues[0];
  if (!parsed.success) throw new Error(`${name}: ${issue!.path.join(".")} of its result: ${issue!.message}`);
  const unknown = unknownKey(json, parsed.data);
  if (unknown !== null) throw new Error(`${name}: its schema does not know ${unknown} of its result`);
  return parsed.data;
}

/** The path of the first key of `before` that `after` has not; null where it has all. */
function unknownKey(before: unknown, after: unknown): string | null {
  if (typeof before !== "object" || before === null || typeof after !== "object" || after === null) return null;
  for (const [key, value] of Object.entries(before)) {
    if (!(key in after)) return key;
    const inner = unknownKey(value, (after as Record<string, unknown>)[key]);
    if (inner !== null) return `${key}.${inner}`;
  }
  return null;
}
