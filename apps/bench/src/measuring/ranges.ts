import { z } from "zod";

/** A part of a whole: an accuracy, a share of pictures, 0 to 1. */
export const share: z.ZodNumber = z.number().min(0).max(1);

/** What is never less than nothing: counts, times, sizes, and fractions that may be more than the whole. */
export const amount: z.ZodNumber = z.number().min(0);
