import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { amount } from "./ranges.ts";

/** What some work took beside wall clock; older results do not say it. */
export const effortFields = {
  /** Seconds of all cores, of this process. */
  cpuSeconds: amount.optional(),
  /** Energy of the processor's packages, whoever used them; null where the machine has no meter that may be read. */
  joules: amount.nullable().optional(),
};

export type Effort = Required<z.output<z.ZodObject<typeof effortFields>>>;

/** Linux keeps the meters of Intel's and AMD's processors (RAPL) here. */
const POWERCAP = "/sys/class/powercap";
/** Meters begin again at 0, after minutes at the earliest. */
const LOOK_AGAIN_MS = 30_000;

/**
 * Does some work and says what it took. The processor's energy is what its meters counted meanwhile: of everything that ran, so do nothing
 * beside it.
 *
 * @param folder Where the meters are, `intel-rapl:0` and so on, each with `energy_uj` and `max_energy_range_uj`, in microjoules.
 */
export async function withEffort<T>(
  work: () => Promise<T>,
  folder: string = POWERCAP,
  everyMs: number = LOOK_AGAIN_MS,
): Promise<{ readonly value: T; readonly effort: Effort }> {
  const meters = await metersIn(folder);
  const look = async () => {
    for (const meter of meters) await meter.look();
  };
  const timer = setInterval(() => void look().catch(() => undefined), everyMs);
  const begun = process.cpuUsage();
  try {
    const value = await work();
    const { user, system } = process.cpuUsage(begun);
    await look();
    const counted = meters.reduce((sum, meter) => sum + meter.counted(), 0);
    return { value, effort: { cpuSeconds: (user + system) / 1e6, joules: meters.length === 0 ? null : counted / 1e6 } };
  } finally {
    clearInterval(timer);
  }
}

/** A meter that counts up and begins again at 0 behind its range. */
interface Meter {
  look(): Promise<void>;
  /** Microjoules since it was opened. */
  counted(): number;
}

/** One for each package; none where there are none, or they are for the administrator only. */
async function metersIn(folder: string): Promise<readonly Meter[]> {
  const names = await readdir(folder).catch(() => []);
  const meters: Meter[] = [];
  for (const name of names.filter((name) => /^intel-rapl:\d+$/.test(name)).sort()) {
    const read = async (file: string) => Number(await readFile(join(folder, name, file), "utf8"));
    try {
      const range = await read("max_energy_range_uj");
      let last = await read("energy_uj");
      if (!(Number.isFinite(range) && Number.isFinite(last))) continue;
      let sum = 0;
      meters.push({
        async look() {
          const now = await read("energy_uj");
          sum += now >= last ? now - last : now + range - last;
          last = now;
        },
        counted: () => sum,
      });
    } catch {
      // A meter that cannot be read is none.
    }
  }
  return meters;
}
