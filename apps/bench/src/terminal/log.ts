import type { Output } from "./output.ts";
import { createProgress } from "./progress.ts";
import { formatTable } from "./table.ts";
import type { Terminal } from "./terminal.ts";

/**
 * Opens the terminal a command prints on.
 *
 * @param json With `true`, nothing is printed but the one line of {@link Terminal.result} and errors.
 */
export function openTerminal(stdout: Output, stderr: Output, json: boolean): Terminal {
  return {
    line: (text) => {
      if (!json) stdout.write(`${text}\n`);
    },
    table: (table) => {
      if (!json) stdout.write(`${formatTable(table, stdout.columns ?? 80)}\n`);
    },
    result: (value) => {
      if (json) stdout.write(`${JSON.stringify(value)}\n`);
    },
    error: (error) => {
      stderr.write(`error: ${oneLine(error)}\n`);
      if (process.env.EXITKIT_DEBUG && error instanceof Error) stderr.write(`${error.stack}\n`);
    },
    progress: createProgress(json ? null : stderr),
  };
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s*\n\s*/g, " ");
}
