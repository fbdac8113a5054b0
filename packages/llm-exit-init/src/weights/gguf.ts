import { type FileHandle, open } from "node:fs/promises";
import { InputError } from "@exitkit/core-gpu";
import { gguf } from "@huggingface/gguf";
import { bytesOf, dequantise, readableFormats } from "./dequantise.ts";
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
    const { metadata, tensorInfos, tensorDataOffset, littleEndian } = await gguf(path, { allowLocalFile: true });
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
