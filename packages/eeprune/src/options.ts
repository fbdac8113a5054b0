import type { Device, Generator } from "@exitkit/core-gpu";
import { z } from "zod";

/** Schema of an object that is known by its methods. */
export function having(methods: readonly string[], message: string) {
  return z.custom<object>(
    (value) => methods.every((name) => typeof (value as Record<string, unknown> | null)?.[name] === "function"),
    message,
  );
}

/** Schema of a random generator. */
export const generatorOption = z.custom<Generator>(
  (value) => having(["uniform", "split", "permutation"], "").safeParse(value).success,
  "must be a random generator: generator(seed)",
);

/** Schema of an open device. */
export const deviceOption = z.custom<Device>(
  (value) => typeof (value as Device | null)?.compile === "function",
  'device must be an open device: await openDevice("cpu")',
);

/** Schema of a callback. */
export function callbackOption() {
  return z.custom<(...args: never[]) => unknown>((value) => typeof value === "function", "must be a function");
}

/** Schema of a prune ratio. */
export const ratioOption = z.number().gt(0).lt(1);

/** Schema of the option `vanishing`. */
export const vanishingOption = z.enum(["refuse", "warn"]).default("refuse");

/** Schema of the option `balanced`. */
export const balanceOption = z.union([z.boolean(), z.literal("byDifficulty")]).default(false);
