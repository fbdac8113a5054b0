import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { compileProgram, type Device, type Program, readSafetensors, type Tensor } from "@exitkit/core-gpu";

/** Folder of the tiny decoders; made by fixtures/generate_decoders.py. */
export const folder = fileURLToPath(new URL("../fixtures/decoders/", import.meta.url));

/** PyTorch's answers. */
export function golden(name: string): Readonly<Record<string, Tensor>> {
  return readSafetensors(readFileSync(`${folder}${name}.golden.safetensors`)).tensors;
}

/** Largest difference relative to the largest golden element, or to `least` if that is larger; infinite where shapes differ. */
export function error(actual: Tensor, wanted: Tensor, least = 1e-6): number {
  if (actual.shape.join() !== wanted.shape.join()) return Number.POSITIVE_INFINITY;
  const want = Array.from(wanted.data, Number);
  const scale = Math.max(least, ...want.map(Math.abs));
  const worst = Math.max(...Array.from(actual.data, Number).map((value, at) => Math.abs(value - want[at]!)));
  return Number.isNaN(worst) ? Number.POSITIVE_INFINITY : worst / scale;
}

/** What a program gives for its inputs. */
export async function compute(
  device: Device,
  program: Program<unknown, unknown>,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const session = await compileProgram(device, program);
  try {
    return await session.run(feeds);
  } finally {
    await session.release();
  }
}
