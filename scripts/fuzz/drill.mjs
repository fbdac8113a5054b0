import { mutated, numbers } from "./mutate.mjs";

/** What a read may take whatever its input is: errors, tables, what the engine compiles meanwhile. */
const FIXED_BYTES = 512 * 1024;

/**
 * Hands mutated inputs to a reader and counts what comes of them.
 *
 * @param target `{ name, seeds, read, expected }`: `read` takes bytes, `expected` says of an error whether it is one that callers are
 * told to expect.
 * @returns `{ reader, inputs, accepted, refused, crashes, hangs, amplification, first }`: crashes are errors of another kind, hangs
 * inputs that took longer than a second, amplification the largest growth of memory beyond a fixed 512 kB as a multiple of the input,
 * first the message of the first crash.
 */
export async function drill({ name, seeds, read, expected }, inputs, seed) {
  const random = numbers(seed);
  const found = { reader: name, inputs, accepted: 0, refused: 0, crashes: 0, hangs: 0, amplification: 0, first: null };
  const memory = () => {
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  for (let at = 0; at < inputs; at++) {
    const bytes = mutated(seeds, random);
    const [began, before] = [performance.now(), memory()];
    try {
      await read(new Uint8Array(bytes));
      found.accepted++;
    } catch (error) {
      if (expected(error)) found.refused++;
      else {
        found.crashes++;
        found.first ??= `${error?.name}: ${String(error?.message).slice(0, 200)} (input ${at})`;
      }
    }
    if (performance.now() - began > 1000) found.hangs++;
    const growth = memory() - before - FIXED_BYTES;
    if (growth > 0) found.amplification = Math.max(found.amplification, growth / bytes.length);
  }
  return found;
}
