// A short drill of every reader with mutated files; in full by scripts/fuzz.mjs, whose table is in docs/reliability.md.
import { expect, test } from "vitest";
import * as core from "../packages/core-gpu/src/index.ts";
import * as e2cm from "../packages/e2cm/src/index.ts";
import { drill } from "../scripts/fuzz/drill.mjs";
import { mutated, numbers } from "../scripts/fuzz/mutate.mjs";
import { targets } from "../scripts/fuzz/targets.mjs";

const readers = await targets(core, e2cm);

test.each(readers.map((target) => [target.name, target] as const))(
  "%s: never anything but an InputError",
  async (_, target) => {
    const inputs = target.read.length > 0 && target.name.startsWith("read") ? 5000 : 1000;
    const found = await drill(target, inputs, 7);
    expect({ crashes: found.crashes, first: found.first }).toEqual({ crashes: 0, first: null });
    expect(found.refused).toBeGreaterThan(inputs / 4);
  },
);

test("inputs follow from the seed, and a crash is counted", async () => {
  const seeds = [Buffer.from("a valid file of some length")];
  const made = (seed: number) =>
    Array.from(
      { length: 20 },
      (
        (random) => () =>
          mutated(seeds, random).toString("hex")
      )(numbers(seed)),
    );
  expect(made(1)).toEqual(made(1));
  expect(made(1)).not.toEqual(made(2));
  const read = (bytes: Uint8Array) => {
    if (bytes.length % 2 === 0) throw new TypeError("even");
  };
  const found = await drill({ name: "x", seeds, read, expected: () => false }, 100, 1);
  expect(found.crashes).toBeGreaterThan(10);
  expect(found.first).toContain("TypeError: even");
});
