import { expect, test } from "vitest";
import { drill } from "../../scripts/fuzz/drill.mjs";
import { mutated, numbers } from "../../scripts/fuzz/mutate.mjs";

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
