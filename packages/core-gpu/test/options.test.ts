import { expect, test } from "vitest";
import { z } from "zod";
import { type ArgumentKind, checkArguments } from "../src/arguments.ts";
import { InputError } from "../src/errors.ts";
import { parseOptions } from "../src/options.ts";

const schema = z.strictObject({
  draws: z.int().min(1).default(2000),
  name: z.string().optional(),
  nested: z.strictObject({ rate: z.number().max(1) }).optional(),
});
const refused = (options: unknown): string => {
  try {
    parseOptions("a.b", schema, options);
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return (error as InputError).message;
  }
  throw new Error("nothing was refused");
};

test("defaults are filled in, given values kept", () => {
  expect(parseOptions("a.b", schema, undefined)).toEqual({ draws: 2000 });
  expect(parseOptions("a.b", schema, { draws: 3, name: "x" })).toEqual({ draws: 3, name: "x" });
});

test("unknown options are named, with the known ones", () => {
  expect(refused({ drwas: 3, seed: 1 })).toBe(
    'a.b: options must be valid; got unknown option "drwas", "seed". Options: draws, name, nested.',
  );
});

test("every wrong value is named with what was given", () => {
  const message = refused({ draws: 0, name: 5, nested: { rate: 2 } });
  expect(message).toContain('option "draws" too small');
  expect(message).toContain("(got 0)");
  expect(message).toContain('option "name" invalid input');
  expect(message).toContain("(got 5)");
  expect(message).toContain('option "nested.rate" too big');
  expect(message).toContain("(got 2)");
});

test("values that JSON cannot show are described, long ones cut", () => {
  expect(refused({ draws: Number.NaN })).toContain("(got NaN)");
  expect(refused({ name: () => 1 })).toContain("(got a function)");
  expect(refused({ name: 1n })).toContain("(got 1)");
  expect(refused({ name: Array.from({ length: 99 }, () => 1) })).toContain("...)");
  const circle: Record<string, unknown> = {};
  circle.again = circle;
  expect(refused({ name: circle })).toContain("(got <ref *1> { again: [Circular *1] })");
  expect(refused({ name: { data: [1n] } })).toContain("(got { data: [Array] })");
  expect(refused("text")).toContain("expected object");
});

test("arguments of another kind are named, down to the member", () => {
  const refusal = (value: unknown, kind: ArgumentKind): string => {
    try {
      checkArguments("a.b", { x: [value, kind] });
    } catch (error) {
      return (error as InputError).message;
    }
    return "taken";
  };
  expect(refusal(undefined, "a tensor")).toBe(
    "a.b: x must be a tensor; got undefined. Make one with tensor(dtype, shape, data).",
  );
  expect(refusal(Promise.resolve(1), "a number")).toBe("a.b: x must be a number; got a promise. Await it.");
  expect(refusal(null, { n: "a number" })).toBe("a.b: x must be an object with n; got null.");
  expect(refusal({ n: { of: [1, null] } }, { n: { of: "a shape" } })).toBe(
    "a.b: x.n.of must be a shape; got [1,null].",
  );
  expect(refusal({ n: 1 }, { n: "a number" })).toBe("taken");
  expect(refusal([[0, 1]], "pairs of numbers")).toBe("taken");
  expect(refusal(1n, "a nothing" as ArgumentKind)).toMatch(
    /^core-gpu\.checkArguments: a kind must be one of a string, /,
  );
});
