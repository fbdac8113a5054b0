import { z } from "zod";
import { checkArguments } from "./arguments.ts";
import { InputError } from "./errors.ts";
import { printed } from "./printed.ts";

/**
 * Checks an options object against a zod schema (use `z.strictObject`, so that unknown keys are refused) and fills in
 * its defaults.
 *
 * @param caller The public function whose options these are, e.g. `e2cm.fit`.
 * @throws InputError naming every option that is unknown, missing or out of range.
 */
export function parseOptions<S extends z.ZodType>(caller: string, schema: S, options: unknown): z.output<S> {
  checkArguments("core-gpu.parseOptions", {
    caller: [caller, "a string"],
    schema: [schema, { safeParse: "a function" }],
  });
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
