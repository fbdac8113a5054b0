import { pathToFileURL } from "node:url";
import { paintFor } from "./colour.ts";
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
  const [paint, paintError] = [paintFor(stdout), paintFor(stderr)];
  const width = () => stdout.columns ?? 80;
  return {
    line: (text) => {
      if (!json) stdout.write(`${wrapped(text, width())}\n`);
    },
    link: (file) => {
      if (!json) stdout.write(`report: ${paint("bold", pathToFileURL(file).href)}\n`);
    },
    table: (table) => {
      if (!json) stdout.write(`${formatTable(table, width(), paint)}\n`);
    },
    result: (value) => {
      if (json) stdout.write(`${JSON.stringify(value)}\n`);
    },
    error: (error) => {
      stderr.write(`${paintError("red", "error:")} ${oneLine(error)}\n`);
      if (process.env.EXITKIT_DEBUG && error instanceof Error) stderr.write(`${error.stack}\n`);
    },
    progress: createProgress(json ? null : stderr),
  };
}

/** The words in lines of at most `width` letters; a word that is longer has a line of its own. */
function wrapped(text: string, width: number): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!;
    if (last === "" || last.length + 1 + word.length <= width)
      lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
    else lines.push(word);
  }
  return lines.join("\n");
}

function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return text.replace(/\s*\n\s*/g, " ");
}
