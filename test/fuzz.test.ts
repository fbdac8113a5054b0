// A short drill of every reader with mutated files; in full by scripts/fuzz.mjs, whose table is in docs/reliability.md.
import { expect, test } from "vitest";
import { drill } from "../scripts/fuzz/drill.mjs";
import { mutated, numbers } from "../scripts/fuzz/mutate.mjs";
import { targets } from "../scripts/fuzz/targets.mjs";

const readers = await targets();

test.each(readers.map((target) => [target.name, target] as const))(
  "%s: never anything but an InputError",
  { timeout: 240_000 },
  async (_, target) => {
    const inputs = target.slow ? 100 : 300;
    // Memory is judged by the full count: what the engine collects when is not a test's to say.
    const { first, crashes, refused } = await drill(target, inputs, 7);
    expect({ crashes, first }).toEqual({ crashes: 0, first: null });
    if (!target.accepts) expect(refused).toBeGreaterThan(inputs / 4);
  },
);

test("inputs follow from the seed, and a crash is counted", async () => {
  const seeds = [Buffer.from("a valid file of some length")];
  const made = (seed: number) => {
    const random = numbers(seed);
    return Array.from({ length: 20 }, () => mutated(seeds, random).toString("hex"));
  };
  expect(made(1)).toEqual(made(1));
  expect(made(1)).not.toEqual(made(2));
  const read = (bytes: Uint8Array) => {
    if (bytes.length % 2 === 0) throw new TypeError("even");
  };
  const found = await drill({ name: "x", seeds, read, expected: () => false }, 100, 1);
  expect(found.crashes).toBeGreaterThan(10);
  expect(found.first).toContain("TypeError: even");
  const greedy: Uint8Array[] = [];
  const taking = () => {
    greedy.push(new Uint8Array(40_000_000));
  };
  expect((await drill({ name: "y", seeds, read: taking, expected: () => false }, 3, 1)).heavy).toBe(3);
});
