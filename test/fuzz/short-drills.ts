import { expect, test } from "vitest";
import { drill } from "../../scripts/fuzz/drill.mjs";
import { type Kind, targets } from "../../scripts/fuzz/targets.mjs";

/** Mutated files for each reader; in full by scripts/fuzz.mjs, whose table is in docs/reliability.md. */
const INPUTS = 5000;

/** A short drill of every reader of one kind. */
export async function shortDrills(kind: Kind): Promise<void> {
  const readers = await targets([kind]);
  test.each(readers.map((target) => [target.name, target] as const))(
    "%s: never anything but an InputError",
    { timeout: 240_000 },
    async (_, target) => {
      // Memory is judged by the full count: what the engine collects when is not a test's to say.
      const { first, crashes, refused } = await drill(target, INPUTS, 7);
      expect({ crashes, first }).toEqual({ crashes: 0, first: null });
      if (!target.accepts) expect(refused).toBeGreaterThan(INPUTS / 4);
    },
  );
}
