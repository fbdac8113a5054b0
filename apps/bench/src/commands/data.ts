import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import type { Fetched, FetchOptions } from "../data/fetch.ts";
import { fetchCifar10 } from "../data/fetch-cifar10.ts";
import { fetchFashionMnist } from "../data/fetch-fashion-mnist.ts";
import { fetchSmollm2 } from "../data/fetch-smollm2.ts";
import type { Progress } from "../terminal/progress.ts";
import type { Terminal } from "../terminal/terminal.ts";

export const FETCHABLE = {
  cifar10: { title: "CIFAR-10", fetch: fetchCifar10 },
  "fashion-mnist": { title: "Fashion-MNIST", fetch: fetchFashionMnist },
  smollm2: { title: "SmolLM2-135M-Instruct", fetch: fetchSmollm2 },
} as const satisfies Readonly<
  Record<string, { title: string; fetch: (to: string, shown: Progress, options: FetchOptions) => Promise<Fetched> }>
>;

/** `bench data`: brings a data set whole, or a language model. */
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
