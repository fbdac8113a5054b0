import { InputError } from "@exitkit/core-gpu";

/** Typed arrays that a kept value may hold. */
export type KeptArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array;

/**
 * Takes a plain value (records, lists, strings, booleans, null, any number) apart into JSON text and its typed arrays.
 * NaN, infinities and −0, which JSON has no words for, come back as they were.
 *
 * @throws InputError naming the place of anything that is not plain data, such as a class instance.
 */
export function encodeValue(value: unknown): { json: string; arrays: readonly KeptArray[] } {
  const arrays: KeptArray[] = [];
  const encode = (at: unknown, path: string): unknown => {
    if (at === null || typeof at === "string" || typeof at === "boolean") return at;
    if (typeof at === "number")
      return Number.isFinite(at) && !Object.is(at, -0) ? at : { $number: Object.is(at, -0) ? "-0" : String(at) };
    if (isKeptArray(at)) return { $array: arrays.push(at) - 1 };
    if (Array.isArray(at)) return at.map((item, index) => encode(item, `${path}[${index}]`));
    if (typeof at === "object" && [Object.prototype, null].includes(Object.getPrototypeOf(at))) {
      const entries = Object.entries(at).filter(([, item]) => item !== undefined);
      const reserved = entries.find(([key]) => key.startsWith("$"));
      if (reserved === undefined)
        return Object.fromEntries(entries.map(([key, item]) => [key, encode(item, `${path}.${key}`)]));
    }
    throw new InputError(
      "bench.step",
      "a kept result must be plain data: records, lists, numbers, strings, typed arrays",
      `${at === undefined ? "undefined" : typeof at === "object" ? `a ${at.constructor?.name}` : `a ${typeof at}`} at ${path}`,
      "Return what the next step needs as plain data.",
    );
  };
  const json = JSON.stringify(encode(value, "result"));
  return { json, arrays };
}

const numbers = new Set(["NaN", "Infinity", "-Infinity", "-0"]);

/** Puts together what {@link encodeValue} took apart. @throws Error on what it did not write. */
export function decodeValue(json: string, arrays: readonly KeptArray[]): unknown {
  return JSON.parse(json, (_, value: unknown) => {
    if (value === null || typeof value !== "object") return value;
    if ("$number" in value) {
      if (typeof value.$number === "string" && numbers.has(value.$number)) return Number(value.$number);
      throw new Error("a $number that is none");
    }
    if ("$array" in value) {
      const array = typeof value.$array === "number" ? arrays[value.$array] : undefined;
      if (array !== undefined) return array;
      throw new Error("an $array that names no tensor");
    }
    return value;
  });
}

function isKeptArray(value: unknown): value is KeptArray {
  return [Float32Array, Float64Array, Int32Array, BigInt64Array, Uint8Array].some(
    (Kind) => value instanceof Kind && value.constructor === Kind,
  );
}
