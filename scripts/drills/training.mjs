import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { start } from "./children.mjs";

/** Trains 20 epochs with a checkpoint after every step, goes on where one is, and prints a hash of all that came of it. */
const CHILD = "packages/core-gpu/test/training/killed-child.ts";

async function withFolder(use) {
  const folder = await mkdtemp(join(tmpdir(), "drill-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A run that nothing stops: what it prints, and how long it trains. */
async function whole(folder, seed) {
  const child = start(CHILD, folder, String(seed));
  await child.ready;
  const began = performance.now();
  const { code, stdout, stderr } = await child.ended;
  if (code !== 0) throw new Error(stderr);
  return { done: said(stdout), milliseconds: performance.now() - began };
}

const said = (stdout) => /done .*/.exec(stdout)?.[0] ?? null;

/**
 * Trains in processes that are killed at random moments and gone on with until they are done.
 *
 * @param random core-gpu's generator.
 * @returns `progressed` counts kills after which a newer checkpoint was there, `halfWritten` those within the writing of one, `backwards`
 * those after which a checkpoint was gone, `otherBits` runs that did not end with the bits of one that nothing stops.
 */
export function killedTraining(kills, random) {
  return withFolder(async (folders) => {
    const expected = await Promise.all([1, 2].map((seed) => whole(join(folders, `whole-${seed}`), seed)));
    const most = Math.min(...expected.map(({ milliseconds }) => milliseconds)) / 6;
    const found = { kills: 0, runs: 0, progressed: 0, halfWritten: 0, backwards: 0, otherBits: 0 };
    const chain = async (seed) => {
      while (found.kills < kills) {
        const folder = join(folders, `chain-${found.runs++}`);
        for (let steps = 0, done = null; done === null; ) {
          const killing = found.kills < kills;
          const child = start(CHILD, folder, String(seed));
          await child.ready;
          if (killing) sleep(random.uniform() * most).then(child.kill);
          const { code, signal, stdout, stderr } = await child.ended;
          if (signal !== "SIGKILL" && code !== 0) throw new Error(stderr);
          done = code === 0 ? said(stdout) : null;
          if (done !== null) {
            if (done !== expected[seed - 1].done) found.otherBits++;
            continue;
          }
          found.kills++;
          const names = await readdir(folder).catch(() => []);
          if (names.some((name) => name.startsWith(".new-"))) found.halfWritten++;
          const finished = names.filter((name) => name.startsWith("step-")).map((name) => Number(name.slice(5)));
          const newest = Math.max(0, ...finished);
          if (newest > steps) found.progressed++;
          if (newest < steps) found.backwards++;
          steps = newest;
        }
        await rm(folder, { recursive: true, force: true });
      }
    };
    await Promise.all([chain(1), chain(2)]);
    return found;
  });
}

/**
 * Two processes begin the same training in one folder at once.
 *
 * @returns `refused` counts processes that were told of the other's by name, `otherBits` runs with another end than one alone has,
 * `otherErrors` what else went wrong.
 */
export function twoInOneFolder(rounds) {
  return withFolder(async (folders) => {
    const { done } = await whole(join(folders, "alone"), 1);
    const found = { rounds, finished: 0, refused: 0, otherBits: 0, otherErrors: 0 };
    for (let round = 0; round < rounds; round++) {
      const folder = join(folders, `shared-${round}`);
      const both = [start(CHILD, folder, "1"), start(CHILD, folder, "1")];
      for (const { code, stdout, stderr } of await Promise.all(both.map(({ ended }) => ended))) {
        if (code === 0) {
          found.finished++;
          if (said(stdout) !== done) found.otherBits++;
        } else if (/InputError: .* must be a run's own; got a run of process \d+/.test(stderr)) found.refused++;
        else found.otherErrors++;
      }
      await rm(folder, { recursive: true, force: true });
    }
    return found;
  });
}
