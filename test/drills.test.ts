// The drills in short; in full by scripts/drills.mjs, whose figures are in docs/reliability.md.
import { beforeAll, describe, expect, it } from "vitest";
import * as core from "../packages/core-gpu/src/index.ts";
import * as e2cm from "../packages/e2cm/src/index.ts";
import { drills, twoExits } from "../scripts/drills/drills.mjs";

const both = await twoExits(core, e2cm);
const times: Readonly<Record<string, number>> = { saves: 4, crowd: 4, training: 12, folder: 2, disk: 60 };

describe.each(drills(core, e2cm, both))("$name", ({ key, none, run }) => {
  let figures: Readonly<Record<string, number>> | null;
  beforeAll(async () => {
    figures = await run(times[key]!);
  }, 240_000);

  it("loses nothing", (context) => {
    if (figures === null) return context.skip("no small file system can be made here");
    for (const figure of none) expect(figures[figure], figure).toBe(0);
  });

  it("does what it says", (context) => {
    if (figures === null) return context.skip("no small file system can be made here");
    if (key === "saves") expect(figures.loads).toBeGreaterThanOrEqual(figures.kills!);
    if (key === "crowd") expect([figures.saves, figures.loads]).toEqual([200, 400]);
    // Kills fell where it matters: within training, and some of them within the writing of a checkpoint.
    if (key === "training") {
      expect(figures.progressed).toBeGreaterThan(2);
      expect(figures.halfWritten).toBeGreaterThan(0);
    }
    if (key === "folder") expect(figures.finished! + figures.refused!).toBe(4);
    if (key === "disk") expect(Math.min(figures.saved!, figures.refused!)).toBeGreaterThan(0);
  });
});
