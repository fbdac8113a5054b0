import type { Table } from "../report/table.ts";
import type { Progress } from "./progress.ts";

/** Everything a command may print with. Only this folder writes to a stream. */
export interface Terminal {
  /** One line of the result, on standard output; nothing with --json. */
  line(text: string): void;
  /** The last line of a command that wrote a page: a link to it. */
  link(file: string): void;
  /** A table of the result, on standard output; nothing with --json. */
  table(table: Table): void;
  /** The final JSON line, on standard output; nothing without --json. */
  result(value: unknown): void;
  /** One clear line on standard error. */
  error(error: unknown): void;
  /** Progress on standard error; nothing with --json. */
  readonly progress: Progress;
}
