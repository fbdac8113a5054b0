import { InputError } from "./errors.ts";
import { printed } from "./printed.ts";

/** What an argument must be: a word, or an object with members that must be something. */
export type ArgumentKind = keyof typeof words | { readonly [member: string]: ArgumentKind };

type Given = { readonly [member: string]: unknown } | null | undefined;

const words = {
  "a string": (value: unknown) => typeof value === "string",
  "a number": (value: unknown) => typeof value === "number",
  "a function": (value: unknown) => typeof value === "function",
  "an object": (value: unknown) => typeof value === "object" && value !== null,
  "a list": (value: unknown) => Array.isArray(value),
  "numbers or bigints": (value: unknown) =>
    (Array.isArray(value) && value.every((item) => typeof item === "number" || typeof item === "bigint")) ||
    (ArrayBuffer.isView(value) && !(value instanceof DataView)),
  "pairs of numbers": (value: unknown) =>
    Array.isArray(value) &&
    value.every((pair) => Array.isArray(pair) && pair.every((item) => typeof item === "number")),
  "a list of names": (value: unknown) => Array.isArray(value) && value.flat().every((name) => typeof name === "string"),
  "a shape": (value: unknown) =>
    Array.isArray(value) && value.every((size) => typeof size === "number" || typeof size === "string"),
  "a tensor": isTensor,
  "a record of tensors": (value: unknown) =>
    typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every(isTensor),
  "a traced value": (value: unknown) => typeof (value as Given)?.producer === "object",
  "a traced value or a tensor": (value: unknown) => typeof (value as Given)?.producer === "object" || isTensor(value),
  "a model": (value: unknown) => typeof ((value as Given)?.proto as Given)?.graph === "object",
  "an open device": (value: unknown) => typeof (value as Given)?.load === "function",
  "a generator": (value: unknown) => typeof (value as Given)?.uniform === "function",
  "a set": (value: unknown) => value instanceof Set,
  "a map": (value: unknown) => value instanceof Map,
  bytes: (value: unknown) => value instanceof Uint8Array || typeof value === "string",
  "an iterable": (value: unknown) => {
    const given = value as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined;
    return typeof given?.[Symbol.iterator] === "function" || typeof given?.[Symbol.asyncIterator] === "function";
  },
} as const;

/** How to come by one. */
const fixes: { readonly [word in keyof typeof words]?: string } = {
  "a tensor": "Make one with tensor(dtype, shape, data).",
  "a model": "readModelFile(path) and readModel(bytes) give one.",
  "an open device": 'Open one: await openDevice("cpu").',
  "a generator": "Make one with generator(seed).",
};

/**
 * Refuses arguments that are missing or of another kind: callers in plain JavaScript see no types. Beside `parseOptions`, which checks the
 * one argument that holds options.
 *
 * @param caller The public function whose arguments these are, e.g. `e2cm.exitRecord`.
 * @param given Each argument by its name, with what it must be: a word such as `a tensor`, or an object of its members and what they must be.
 * @throws InputError naming the first argument, or the member of one, that is something else. A promise is named as one.
 * @example
 * ```ts
 * import { checkArguments, InputError } from "@exitkit/core-gpu";
 * const area = (shape: readonly number[]) => {
 *   checkArguments("mine.area", { shape: [shape, "a shape"] });
 *   return shape.reduce((product, size) => product * size, 1);
 * };
 * try {
 *   area(JSON.parse("null"));
 * } catch (error) {
 *   console.assert((error as InputError).message === "mine.area: shape must be a shape; got null.");
 * }
 * ```
 */
export function checkArguments(
  caller: string,
  given: { readonly [argument: string]: readonly [value: unknown, kind: ArgumentKind] },
): void {
  check("core-gpu.checkArguments", "caller", caller, "a string");
  check("core-gpu.checkArguments", "given", given, "an object");
  for (const [name, pair] of Object.entries(given)) {
    check("core-gpu.checkArguments", `given.${name}`, pair, "a list");
    check(caller, name, ...pair);
  }
}

function check(caller: string, name: string, value: unknown, kind: ArgumentKind): void {
  const word = typeof kind === "string" ? kind : "an object";
  if (!Object.hasOwn(words, word)) {
    throw new InputError("core-gpu.checkArguments", `a kind must be one of ${Object.keys(words).join(", ")}`, word);
  }
  const promised = typeof (value as Given)?.then === "function";
  if (promised || !words[word](value)) {
    const members = typeof kind === "string" ? "" : ` with ${Object.keys(kind).join(", ")}`;
    const fix = promised ? "Await it." : fixes[word];
    throw new InputError(caller, `${name} must be ${word}${members}`, printed(value), fix);
  }
  if (typeof kind === "string") return;
  for (const [member, inner] of Object.entries(kind)) {
    check(caller, `${name}.${member}`, (value as NonNullable<Given>)[member], inner);
  }
}

function isTensor(value: unknown): boolean {
  const { dtype, shape, data } = (value ?? {}) as NonNullable<Given>;
  return typeof dtype === "string" && Array.isArray(shape) && ArrayBuffer.isView(data);
}
