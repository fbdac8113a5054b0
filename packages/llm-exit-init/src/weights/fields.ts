import { InputError } from "@exitkit/core-gpu";

/** The settings of a model's file. Each is read with a default that is stated, or must be there. */
export interface Fields {
  /** Where they come from, for messages. */
  readonly source: string;
  has(name: string): boolean;
  /** A whole number ≥ 1. */
  count(name: string, fallback?: number): number;
  /** A finite number. */
  number(name: string, fallback?: number): number;
  flag(name: string, fallback?: boolean): boolean;
  text(name: string, fallback?: string): string;
  /** The record under a name, empty where there is none. */
  below(name: string): Fields;
  /** Refuses any other value than those that are implemented; nothing is as good as the first. */
  only(name: string, allowed: readonly (string | number | boolean)[]): void;
}

/** {@link Fields} of plain data: a `config.json`, or a GGUF file's keys and values (bigints are taken as numbers). */
export function fieldsOf(caller: string, source: string, values: Readonly<Record<string, unknown>>): Fields {
  const get = (name: string): unknown => {
    const value = Object.hasOwn(values, name) ? values[name] : undefined;
    return typeof value === "bigint" ? Number(value) : value;
  };
  const has = (name: string): boolean => get(name) !== undefined && get(name) !== null;
  const read = <T>(name: string, fallback: T | undefined, wanted: string, fits: (value: unknown) => boolean): T => {
    if (!has(name) && fallback !== undefined) return fallback;
    const value = get(name);
    if (fits(value)) return value as T;
    const actual = has(name) ? printed(value) : "nothing";
    throw new InputError(caller, `${source} must have ${wanted} as "${name}"`, actual);
  };
  return {
    source,
    has,
    count: (name, fallback) =>
      read(name, fallback, "a whole number ≥ 1", (value) => Number.isSafeInteger(value) && (value as number) >= 1),
    number: (name, fallback) => read(name, fallback, "a finite number", Number.isFinite),
    flag: (name, fallback) => read(name, fallback, "true or false", (value) => typeof value === "boolean"),
    text: (name, fallback) => read(name, fallback, "a text", (value) => typeof value === "string"),
    below(name) {
      const value = has(name) ? get(name) : {};
      if (typeof value === "object" && !Array.isArray(value)) {
        return fieldsOf(caller, `"${name}" of ${source}`, value as Readonly<Record<string, unknown>>);
      }
      throw new InputError(caller, `${source} must have a record as "${name}"`, printed(value));
    },
    only(name, allowed) {
      if (!has(name) || allowed.some((one) => one === get(name))) return;
      const list = allowed.map((one) => JSON.stringify(one)).join(" or ");
      throw new InputError(caller, `"${name}" of ${source} must be ${list}`, printed(get(name)));
    },
  };
}

function printed(value: unknown): string {
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
