import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { withEffort } from "../src/measuring/effort.ts";
import { temporaryFolder } from "./helpers.ts";

async function meter(folder: string, name: string, energy: number, range = 1_000_000_000) {
  await mkdir(join(folder, name), { recursive: true });
  await writeFile(join(folder, name, "energy_uj"), `${energy}\n`);
  await writeFile(join(folder, name, "max_energy_range_uj"), `${range}\n`);
}

describe("what work takes", () => {
  it("is the time of all cores, and the energy of all packages but not of their parts", async () => {
    const folder = await temporaryFolder();
    await meter(folder, "intel-rapl:0", 5_000_000);
    await meter(folder, "intel-rapl:1", 1_000_000);
    await meter(folder, "intel-rapl:0:0", 7);
    const { value, effort } = await withEffort(async () => {
      const until = performance.now() + 60;
      while (performance.now() < until);
      await meter(folder, "intel-rapl:0", 8_500_000);
      await meter(folder, "intel-rapl:1", 1_250_000);
      await meter(folder, "intel-rapl:0:0", 999_999_999);
      return "done";
    }, folder);
    expect(value).toBe("done");
    expect(effort.joules).toBeCloseTo(3.75, 9);
    expect(effort.cpuSeconds).toBeGreaterThan(0.03);
  });

  it("is counted on where a meter begins again, twice too where it is looked at in between", async () => {
    const folder = await temporaryFolder();
    await meter(folder, "intel-rapl:0", 900, 1000);
    const once = await withEffort(() => meter(folder, "intel-rapl:0", 100, 1000), folder);
    expect(once.effort.joules).toBeCloseTo(200e-6, 12);
    const wait = () => new Promise((resolve) => setTimeout(resolve, 60));
    await meter(folder, "intel-rapl:0", 900, 1000);
    const twice = await withEffort(
      async () => {
        await writeFile(join(folder, "intel-rapl:0", "energy_uj"), "800");
        await wait();
        await writeFile(join(folder, "intel-rapl:0", "energy_uj"), "700");
      },
      folder,
      10,
    );
    expect(twice.effort.joules).toBeCloseTo(1800e-6, 12);
  });

  it("has no energy where there is no meter, or none that may be read", async () => {
    const folder = await temporaryFolder();
    expect((await withEffort(async () => 1, join(folder, "none"))).effort.joules).toBeNull();
    await meter(folder, "intel-rapl:0", 5);
    await writeFile(join(folder, "intel-rapl:0", "energy_uj"), "secret");
    expect((await withEffort(async () => 1, folder)).effort.joules).toBeNull();
  });

  it("passes an error on", async () => {
    await expect(withEffort(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  });
});
