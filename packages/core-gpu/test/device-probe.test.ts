import { expect, test } from "vitest";
import { probe } from "../src/device/probe.ts";

test("a probe really runs the network", { timeout: 60_000 }, async () => {
  const seen = await probe("cpu", 30_000);
  expect(seen).toMatchObject({ ended: "normally", crash: null, right: true, error: null });
  expect(seen.providers).toContain("cpu");
});

test("a probe that takes too long is ended", async () => {
  expect(await probe("cpu", 1)).toMatchObject({ ended: "timeout", right: false });
});

test("a device that does not exist is an error, not a crash", { timeout: 60_000 }, async () => {
  const seen = await probe("quantum" as never, 30_000);
  expect(seen).toMatchObject({ ended: "normally", right: false });
  expect(seen.error).toContain("quantum");
});
