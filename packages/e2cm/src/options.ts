import type { Device } from "@exitkit/core-gpu";
import { z } from "zod";
import { type Batches, isIterable } from "./network/batches.ts";

/** Schema of the option `device`. */
export const deviceOption = z
  .custom<Device>(
    (value) => typeof (value as Device | null)?.load === "function",
    'must be an open device: await openDevice("cpu")',
  )
  .optional();

/** Schema of an option that is a stream of labelled batches. */
export const batchesOption = z.custom<Batches>(isIterable, "must be an iterable of batches { x, y }");

/** Schema of a callback. */
export function callbackOption<F extends (...args: never[]) => void>() {
  return z.custom<F>((value) => typeof value === "function", "must be a function").optional();
}

/** Schema of the option `signal`. */
export const signalOption = z.instanceof(AbortSignal).optional();
