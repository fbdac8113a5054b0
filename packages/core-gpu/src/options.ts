import { inspect } from "node:util";
import { z } from "zod";
import { InputError } from "./errors.ts";

/**
 * Checks an options object against a zod schema (use `z.strictObject`, so that unknown keys are refused) and fills in
 * its defaults.
 *
 * @param caller The public function whose options these are, e.g. `e2cm.fit`.
 * @throws InputError naming every option that is unknown, missing or out of range.
 */
export function parseOptions<S extends z.ZodType>(caller: string, schema: S, options: unknown): z.output<S> {
  const parsed = schema.safeParse(options ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map((issue) => {
    const path = issue.path.join(".");
    const value = issue.path.reduce<unknown>(
      (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
      options,
    );
    if (issue.code === "unrecognized_keys") return `unknown option ${issue.keys.map((key) => `"${key}"`).join(", ")}`;
    return `option "${path}" ${issue.message.charAt(0).toLowerCase()}${issue.message.slice(1)} (got ${printed(value)})`;
  });
  const known = schema instanceof z.ZodObject ? `Options: ${Object.keys(schema.shape).join(", ")}.` : undefined;
  throw new InputError(caller, "options must be valid", problems.join("; "), known);
}

/** A value in an error's message, in at most 60 characters. */
export function printed(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint" || value === undefined) return String(value);
  if (typeof value === "function") return "a function";
  const text = asJson(value) ?? inspect(value, { depth: 0, breakLength: Number.POSITIVE_INFINITY });
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** Undefined where JSON cannot: symbols, circles, bigints inside. */
function asJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}
