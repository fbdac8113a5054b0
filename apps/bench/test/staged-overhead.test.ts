import { type Device, generator, openDevice } from "@exitkit/core-gpu";
import { countExitCosts } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { oneBatch } from "../src/data/batches.ts";
import { openDataset } from "../src/data/directory.ts";
import { slicePictures } from "../src/data/pictures.ts";
import { cifar10 } from "../src/data/sets/index.ts";
import { measure, withCheapExits } from "../src/experiments/staged-overhead/measure.ts";
import { pretrained } from "../src/zoo/resnet.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

// Stem and six 3×3 convolutions of 16 channels at 32×32; in the second and third width half of one and five of the same
// size, the first block having half and one; linear 64·10.
const CONV = 16 * 16 * 9 * 32 * 32;
const WIDTH = 3 * 16 * 9 * 32 * 32 + 6 * CONV;
const FIRST = WIDTH + 1.5 * CONV;
const SECOND = WIDTH + 5.5 * CONV + 1.5 * CONV;
const FULL = WIDTH + 11 * CONV + 640;

describe("withCheapExits", () => {
  it("costs the backbone up to the tap and a linear layer at every exit", async () => {
    const backbone = await pretrained("resnet20");
    const exitModel = withCheapExits(backbone, generator(1));
    expect(exitModel.exits.map(({ name, tap }) => [name, tap])).toEqual([
      ["block4", "block4"],
      ["block7", "block7"],
      ["full", "logits"],
    ]);
    expect(await countExitCosts(device, exitModel)).toEqual({
      exits: [FIRST + 320, SECOND + 960, FULL + 960],
      full: FULL,
    });
  });
});

describe("measure", () => {
  it("counts exactly what leaves where, and times it", async () => {
    const { test } = await openDataset(cifar10, undefined);
    const plan = { budget: 0, leastRounds: 2, mostRounds: 2 };
    const batch = oneBatch(slicePictures(test, 0, 16));
    const rows = await measure(device, await pretrained("resnet20"), batch, generator(1), plan);
    expect(rows.map(({ scenario, rowsPerStage }) => [scenario, rowsPerStage])).toEqual([
      ["no exits", [16, 16, 16]],
      ["half leave at each exit", [16, 8, 4]],
      ["all leave first", [16, 0, 0]],
    ]);
    const fractions = [FULL + 960, (8 * (FIRST + 320) + 4 * (SECOND + 960) + 4 * (FULL + 960)) / 16, FIRST + 320];
    rows.forEach((row, index) => {
      expect(row.macsFraction).toBeCloseTo(fractions[index]! / FULL, 12);
      const [lower, upper] = row.stagedQuartiles;
      expect(lower <= row.stagedMs && row.stagedMs <= upper).toBe(true);
      expect(row).toMatchObject({ backbone: "resnet20", batch: 16, runs: 2, cuts: 2 });
    });
  }, 30_000);

  it("has no half of a single picture", async () => {
    const { test } = await openDataset(cifar10, undefined);
    const plan = { budget: 0, leastRounds: 1, mostRounds: 1 };
    const rows = await measure(
      device,
      await pretrained("resnet20"),
      oneBatch(slicePictures(test, 0, 1)),
      generator(1),
      plan,
    );
    expect(rows.map(({ scenario }) => scenario)).toEqual(["no exits", "all leave first"]);
    for (const row of rows) {
      // One round: the medians are that round's values.
      expect(row.wallFraction).toBeCloseTo(row.stagedMs / row.plainMs, 12);
      expect(row.msPerCut).toBeCloseTo((row.stagedMs - row.macsFraction * row.plainMs) / 2, 12);
    }
  }, 30_000);
});
