import { type FileHandle, open } from "node:fs/promises";
import { InputError } from "@exitkit/core-gpu";
import { gguf } from "@huggingface/gguf";
import { bytesOf, dequantise, readableFormats } from "./dequantise.ts";
import { checkLengths } from "./gguf-lengths.ts";
import type { WeightSource } from "./source.ts";

/** An open GGUF file. */
export interface GgufFile extends WeightSource {
  /** Its keys and values. */
  readonly metadata: Readonly<Record<string, unknown>>;
  close(): Promise<void>;
}

interface Place {
  readonly shape: readonly number[];
  readonly format: number;
  readonly from: number;
  readonly bytes: number;
}

/** How far behind the end of a file the library reads ahead. */
const AHEAD = 500_000;

/** Ranges of a file, as the library asks a server for them; what lies farther behind its end than is read ahead is refused. */
function rangesOf(file: FileHandle, size: number, refuse: () => Error): typeof fetch {
  return async (_, init) => {
    const { Range: range } = init!.headers as { readonly Range: string };
    const [from, to] = range.match(/\d+/g)!.map(Number) as [number, number];
    if (from >= size + AHEAD) throw refuse();
    const bytes = new Uint8Array(Math.max(0, Math.min(to + 1, size) - from));
    if (bytes.length > 0) await file.read(bytes, 0, bytes.length, from);
    return new Response(bytes, { headers: { "content-range": `bytes ${from}-${to}/${size}` } });
  };
}

/**
 * Opens a GGUF file: its keys and values, and its tensors one at a time, in float32.
 *
 * @throws InputError where the file is none or cut short, or a tensor has a format that is not read here.
 */
export async function openGguf(caller: string, path: string): Promise<GgufFile> {
  const refuse = (actual: string, fix = "Fetch it again, or convert it: llama-quantize.", cause?: unknown) =>
    new InputError(caller, `${path} must be a GGUF file`, actual, fix, cause);
  let file: FileHandle | undefined;
  try {
    file = await open(path, "r");
    const { size } = await file.stat();
    await checkLengths(file, size);
    // The library takes what lies behind the end for zeros, and memory for it; as ranges of an address its reads are counted here.
    const { metadata, tensorInfos, tensorDataOffset, littleEndian } = await gguf("https://file.invalid", {
      fetch: rangesOf(file, size, () => refuse(`${size} bytes, fewer than its header says`)),
    });
    if (!littleEndian) throw refuse("a big-endian one");
    const places = new Map<string, Place>();
    for (const { name, shape, dtype, offset } of tensorInfos) {
      // The file counts dimensions from the innermost.
      const sides = shape.map(Number).reverse();
      const bytes = bytesOf(
        dtype,
        sides.reduce((product, side) => product * side, 1),
      );
      if (bytes === null) {
        const fix = `Formats read are ${readableFormats.join(", ")}; convert it with llama-quantize.`;
        throw refuse(`"${name}" [${sides.join(", ")}] in format ${dtype}`, fix);
      }
      const from = Number(tensorDataOffset + offset);
      if (!(from + bytes <= size)) throw refuse(`${size} bytes, where "${name}" ends at byte ${from + bytes}`);
      if (places.has(name)) throw refuse(`"${name}" twice`);
      places.set(name, { shape: sides, format: dtype, from, bytes });
    }
    return {
      source: path,
      metadata: { ...metadata },
      shapes: new Map([...places].map(([name, { shape }]) => [name, shape])),
      async read(name) {
        const { shape, format, from, bytes } = places.get(name)!;
        const content = new Uint8Array(bytes);
        for (let at = 0; at < bytes; ) {
          const { bytesRead } = await file!.read(content, at, Math.min(bytes - at, 2 ** 30), from + at);
          if (bytesRead === 0) throw refuse(`a file that ends at byte ${from + at}`);
          at += bytesRead;
        }
        return { dtype: "float32", shape, data: dequantise(format, content) };
      },
      close: () => file!.close(),
    };
  } catch (error) {
    await file?.close();
    if (error instanceof InputError) throw error;
    throw refuse(error instanceof Error ? error.message : String(error), undefined, error);
  }
}
