import { z } from "zod";

/** A list that may be missing from a file. */
export const list = <T extends z.ZodType>(item: T) => z.array(item).default([]);

/** What every result.json says. */
export const common = {
  preset: z.string(),
  seed: z.number(),
  device: z.string(),
  config: z.record(z.string(), z.unknown()).default({}),
  environment: z.record(z.string(), z.unknown()).default({}),
};
