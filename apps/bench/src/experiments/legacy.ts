import type { z } from "zod";
import { filesOf, usedData } from "../report/legacy-method.ts";
import { rivalsSections as ownSections } from "../report/legacy-sections.ts";
import type { Block } from "../report/markdown.ts";
import { rivalsHeadline as headline } from "../report/rivals-headline.ts";
import type { RivalsResult as ReportResult } from "../report/rivals-types.ts";
import { rivalsWords as words } from "../report/rivals-words.ts";
import { tableOf } from "../report/table.ts";
import type { Context, Experiment, Kept, Results } from "./experiment.ts";
import type { Common } from "./result.ts";

export interface ExperimentResult {
  readonly values: Readonly<Record<string, unknown>>;
  readonly summary: {
    readonly head: readonly string[];
    readonly rows: readonly (readonly (string | number)[])[];
    readonly notes?: readonly string[];
  };
}

/** An experiment without a room yet. */
interface Legacy extends Omit<Experiment, "run" | "presets" | "schema" | "summary" | "report"> {
  run(context: Context): Promise<ExperimentResult>;
}

const page: Record<string, unknown> = {};
for (const name of ["e2cm-rivals"]) {
  page[name] = await import(new URL(`../../../../scripts/measured/${name}.mjs`, import.meta.url).href);
}

export function legacy(described: Legacy, schema: z.ZodType): Experiment {
  let last: ExperimentResult["summary"];
  const lines = page[described.name] as
    | {
        page(result: unknown, results: unknown): string[];
        headline?(result: unknown, results: unknown): string;
        keep?(result: unknown): unknown;
        nameOf?(result: unknown): string;
        peer?(text: string): unknown;
      }
    | undefined;
  const own = (name: string, results: Results) => [results.get(name), Object.fromEntries(results)] as const;
  return {
    ...described,
    presets: { quick: null, full: null },
    schema: schema as z.ZodType<Common>,
    async run(context) {
      const { values, summary } = await described.run(context);
      last = summary;
      return values;
    },
    summary: () => ({
      table: tableOf(
        last.rows,
        last.head.map((heading, column) => [heading, (row) => row[column]] as const),
      ),
      ...(last.notes === undefined ? {} : { notes: last.notes }),
    }),
    report: (result) => {
      const files = filesOf(result as unknown as ReportResult);
      return {
        headline: headline(result as unknown as ReportResult),
        sections: ownSections(result as unknown as ReportResult),
        method: words(result as unknown as ReportResult),
        ...(files === undefined ? {} : { files }),
        ...usedData(result as unknown as ReportResult),
      };
    },
    ...(lines && {
      measured: (_: unknown, results: Results): readonly Block[] => [
        lines
          .page(...own(described.name, results))
          .join("\n")
          .trim(),
      ],
      keep: (result: unknown): Kept => ({
        name: lines.nameOf?.(result) ?? described.name,
        value: lines.keep?.(result) ?? result,
      }),
      ...(lines.headline && {
        readme: (_: unknown, results: Results): readonly Block[] => [lines.headline!(...own(described.name, results))],
      }),
      ...(lines.peer && {
        adopt: (text: string): Kept => ({ name: `${described.name}-pytorch`, value: lines.peer!(text) }),
      }),
    }),
  };
}
