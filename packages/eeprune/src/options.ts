import type { Generator } from "@exitkit/core-gpu";
import { z } from "zod";

/** Schema of a random generator. */
export const generatorOption = z.custom<Generator>(
  (value) =>
    ["uniform", "split", "permutation"].every(
      (name) => typeof (value as Record<string, unknown> | null)?.[name] === "function",
    ),
  "must be a random generator: generator(seed)",
);

/** Schema of a prune ratio. */
export const ratioOption = z.number().gt(0).lt(1);

/** Schema of the option `vanishing`. */
export const vanishingOption = z.enum(["refuse", "warn"]).default("refuse");
