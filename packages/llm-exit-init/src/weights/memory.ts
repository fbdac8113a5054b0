import { freemem } from "node:os";
import { InputError } from "@exitkit/core-gpu";

/** Bytes that can be had without swapping, as the system says now. */
function availableBytes(): number {
  const { availableMemory } = process as { readonly availableMemory?: () => number };
  return Math.min(freemem(), availableMemory?.() ?? Number.POSITIVE_INFINITY);
}

/**
 * Foresees what a model takes before any of it is read: its parameters in float32, and the largest file that is held beside
 * them.
 *
 * @throws InputError where that is more than `limit`, or than is free.
 */
export function checkMemory(caller: string, source: string, parameters: number, held: number, limit?: number): void {
  const needed = 4 * parameters + held;
  const bound = limit ?? availableBytes();
  if (needed <= bound) return;
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
  const free = limit === undefined ? "free" : "allowed by maxBytes";
  const fix = "Take a smaller model: weights are held in float32, however narrow the file's are.";
  throw new InputError(caller, `${source} needs ${gib(needed)} of memory`, `${gib(bound)} ${free}`, fix);
}
