import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { type Fetchable, fetchableOf, fetchFiles } from "../data/fetch.ts";
import { smollm2 } from "../data/smollm2.ts";
import { SETS } from "../data/source.ts";
import { benchCommand } from "../report/command.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** What `bench data` can bring. */
export const FETCHABLE: readonly Fetchable[] = [...Object.values(SETS).flatMap(fetchableOf), smollm2];

/** `bench data`: brings a data set whole, or a language model. */
export async function data(
  fetchable: Fetchable,
  { data, archive }: { readonly data?: string; readonly archive?: string },
  terminal: Terminal,
): Promise<void> {
  const { title } = fetchable;
  const directory = resolve(data ?? process.env.EXITKIT_DATA ?? "data");
  await mkdir(directory, { recursive: true });
  const interrupted = new AbortController();
  const interrupt = () =>
    interrupted.abort(new Error("interrupted; the files already written stay, call it again to go on"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    const { signal } = interrupted;
    const options = archive === undefined ? { signal } : { signal, archive };
    const fetched = await fetchFiles(fetchable, directory, terminal.progress, options);
    const { kept, written, source } = fetched;
    terminal.line(
      written.length === 0
        ? `${title} is complete in ${fetched.directory}`
        : `${title}: ${written.length} files written to ${fetched.directory} from ${source}, ${kept.length} kept`,
    );
    terminal.line(`Use it: ${benchCommand(`run <experiment> --data ${directory}`)}`);
    terminal.result(fetched);
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  }
}
