import type { FileRow } from "./files.ts";
import type { Html } from "./html.ts";
import type { Table } from "./table.ts";

/** What an experiment says of a result. */
export interface Report {
  readonly headline: Headline;
  readonly sections: readonly Section[];
  /** How it was measured: terms and what they mean here, as a record or as pairs. */
  readonly method:
    | Readonly<Record<string, Html | string>>
    | readonly (readonly [term: string, meaning: Html | string])[];
  /** The data sets that were used, where the run's configuration may not say it. */
  readonly data?: readonly string[];
  /** What was computed from; none: it was not recorded. Missing: there is nothing. */
  readonly files?: readonly FileRow[];
}

/** What a reader must know first. */
export interface Headline {
  readonly sentence: string;
  /** How to read it: where it comes from. */
  readonly detail?: string;
  /** What was wanted, and whether it was reached; missing where nothing was. */
  readonly goal?: { readonly text: string; readonly met: boolean };
  readonly facts?: readonly { readonly value: string; readonly name: string }[];
}

/** A part of the report; without content it says that it was not measured. */
export interface Section {
  readonly id: string;
  readonly title: string;
  readonly about?: string;
  /** What it is made from; where that is empty nothing was measured, and `content` is not asked for. */
  readonly of?: readonly unknown[];
  readonly content: readonly Content[] | (() => readonly Content[]);
}

/** What a section shows; nothing where it was not measured. */
export function contentOf({ of, content }: Section): readonly Content[] {
  if (of?.length === 0) return [];
  return typeof content === "function" ? content() : content;
}

/** What a section is made of. Nothing (null, false) leaves no trace. */
export type Content = Html | Table | null | false | undefined;
