import { expect, test } from "vitest";
import { InputError } from "../src/errors.ts";

test("the message reads caller: expectation; got actual. Fix", () => {
  const cause = new Error("why");
  const error = new InputError("e2cm.fit", "features must have shape [n, d]", "[32]", "Add a row axis.", cause);
  expect(error.message).toBe("e2cm.fit: features must have shape [n, d]; got [32]. Add a row axis.");
  expect(error).toMatchObject({ name: "InputError", caller: "e2cm.fit", cause });
  expect(error).toBeInstanceOf(Error);
});

test("without a fix or a cause there is none", () => {
  const error = new InputError("a.b", "x must be 1", "2");
  expect(error.message).toBe("a.b: x must be 1; got 2.");
  expect("cause" in error).toBe(false);
});
