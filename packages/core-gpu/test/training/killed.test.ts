import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execPath } from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generator } from "../../src/index.ts";
import { type Built, build } from "../support/built.ts";

let child: Built;
let folders: string;

beforeAll(async () => {
  child = await build("test/training/killed-child.ts");
  folders = await mkdtemp(join(tmpdir(), "killed-"));
}, 30_000);
afterAll(async () => {
  await child.remove();
  await rm(folders, { recursive: true, force: true });
});

interface Life {
  /** What it printed when it was done; null when it was killed before. */
  readonly done: string | null;
  /** How long it trained. */
  readonly milliseconds: number;
}

/** Runs the child; kills it so many milliseconds after it said that it is ready, or never. */
function live(folder: string, seed: number, killAfter: number | null): Promise<Life> {
  return new Promise((resolve, reject) => {
    const process = spawn(execPath, [child.entry, folder, String(seed)]);
    let [said, complained] = ["", ""];
    let ready = 0;
    process.stderr.on("data", (text) => {
      complained += text;
    });
    process.stdout.on("data", (text) => {
      const first = said === "";
      said += text;
      if (!first) return;
      ready = performance.now();
      if (killAfter !== null) setTimeout(() => process.kill("SIGKILL"), killAfter);
    });
    process.on("error", reject);
    process.on("close", (code, signal) => {
      const milliseconds = performance.now() - ready;
      if (code === 0) resolve({ done: /done .*/.exec(said)?.[0] ?? null, milliseconds });
      else if (signal === "SIGKILL") resolve({ done: null, milliseconds });
      else reject(new Error(`the child ended with ${code}: ${complained}`));
    });
  });
}

test("a run killed at 50 random moments ends with the bits of one that is not", { timeout: 240_000 }, async () => {
  const wanted = 50;
  const expected = new Map<number, string>();
  const lengths: number[] = [];
  for (const seed of [1, 2]) {
    const life = await live(join(folders, `whole-${seed}`), seed, null);
    expected.set(seed, life.done!);
    lengths.push(life.milliseconds);
  }
  expect(expected.get(1)).toMatch(/^done 100 [0-9a-f]{64}$/);
  expect(expected.get(2)).not.toBe(expected.get(1));

  const random = generator(Date.now());
  const most = Math.min(...lengths) / 6;
  let [kills, runs, halfWritten, progressed] = [0, 0, 0, 0];
  const chain = async (seed: number): Promise<void> => {
    while (kills < wanted) {
      const folder = join(folders, `chain-${runs++}`);
      let steps = 0;
      for (let done: string | null = null; done === null; ) {
        const killing = kills < wanted;
        const life = await live(folder, seed, killing ? random.uniform() * most : null);
        done = life.done;
        if (done !== null) {
          expect(done).toBe(expected.get(seed));
          continue;
        }
        kills++;
        const names = await readdir(folder).catch(() => []);
        if (names.some((name) => name.startsWith(".new-"))) halfWritten++;
        const newest = Math.max(
          0,
          ...names.filter((name) => name.startsWith("step-")).map((name) => Number(name.slice(5))),
        );
        expect(newest).toBeGreaterThanOrEqual(steps);
        if (newest > steps) progressed++;
        steps = newest;
      }
    }
  };
  await Promise.all([chain(1), chain(2)]);
  expect(kills).toBeGreaterThanOrEqual(wanted);
  // The kills fell where it matters: within training, and some of them within the writing of a checkpoint.
  expect(progressed).toBeGreaterThan(wanted / 4);
  expect(halfWritten).toBeGreaterThan(0);
});
