import { getHeapStatistics } from "node:v8";
import { mutated, numbers } from "./mutate.mjs";

/** What a read may take whatever its input is: what the engine lets lie before it collects, tables, what it compiles meanwhile. */
const FIXED_BYTES = 16 * 1024 * 1024;

/** How many times its own size an input may take beyond that. */
const MOST_AMPLIFICATION = 20;

/**
 * Hands mutated inputs to a reader and counts what comes of them.
 *
 * @param target `{ name, seeds, read, expected, beside }`: `read` takes bytes, `expected` says of an error whether it is one that
 * callers are told to expect, `beside` are the bytes of other files that are read with each input.
 * @returns `{ inputs, accepted, refused, crashes, hangs, heavy, amplification, first }`: crashes are errors of another kind, hangs inputs
 * that took longer than a second (of the processor's time, where the machine is busy), amplification the largest growth of memory beyond
 * a fixed 16 MB as a multiple of the input, heavy inputs of more than 20, first the message of the first crash.
 */
export async function drill({ seeds, read, expected, beside = 0 }, inputs, seed) {
  const random = numbers(seed);
  const found = { inputs, accepted: 0, refused: 0, crashes: 0, hangs: 0, heavy: 0, amplification: 0, first: null };
  const memory = () => {
    const { used_heap_size, external_memory } = getHeapStatistics();
    return used_heap_size + external_memory;
  };
  const busy = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  for (let at = 0; at < inputs; at++) {
    const bytes = mutated(seeds, random);
    const [began, worked, before] = [performance.now(), busy(), memory()];
    try {
      await read(new Uint8Array(bytes));
      found.accepted++;
    } catch (error) {
      if (expected(error)) found.refused++;
      else {
        found.crashes++;
        found.first ??= `${error?.name}: ${String(error?.message).slice(0, 200)} (input ${at} of seed ${seed})`;
      }
    }
    if (performance.now() - began > 1000 && busy() - worked > 1000) found.hangs++;
    const amplification = (memory() - before - FIXED_BYTES) / (bytes.length + beside);
    found.amplification = Math.max(found.amplification, amplification);
    if (amplification > MOST_AMPLIFICATION) found.heavy++;
  }
  return found;
}
