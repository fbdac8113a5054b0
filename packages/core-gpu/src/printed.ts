import { inspect } from "node:util";

/** A value in an error's message, in at most 60 characters. */
export function printed(value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint" || value === undefined) return String(value);
  if (typeof value === "function") return "a function";
  if (value instanceof Promise) return "a promise";
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
