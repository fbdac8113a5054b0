import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { start } from "./children.mjs";

const CHILD = "packages/e2cm/test/support/exits-child.ts";

/** A folder with two sets of exits, and a path at which the first is saved, to be replaced again and again. */
async function withExits({ saveExits }, [first, second], use) {
  const folder = await mkdtemp(join(tmpdir(), "drill-"));
  const at = (name) => join(folder, name);
  try {
    for (const [name, exits] of [
      ["a", first],
      ["b", second],
      ["saved", first],
    ])
      await saveExits(at(name), exits);
    return await use(at("saved"), [at("saved"), at("a"), at("b")], folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Two processes save exits at one path, over older ones, until both are killed at a random moment; then what lies there is loaded.
 *
 * @param e2cm `@exitkit/e2cm`.
 * @param both Two sets of exits of another metric each.
 * @param random core-gpu's generator.
 * @returns `lost` counts loads that found no whole pair.
 */
export function killedSavers(e2cm, both, kills, random) {
  return withExits(e2cm, both, async (path, places, folder) => {
    const metrics = both.map(({ exits }) => exits[0].metric);
    const found = { kills: 0, loads: 0, lost: 0, files: 0 };
    const look = async () => {
      found.loads++;
      const loaded = await e2cm.loadExits(path).catch(() => null);
      if (loaded === null || !metrics.includes(loaded.exits[0].metric)) found.lost++;
    };
    while (found.kills < kills) {
      const savers = [start(CHILD, "save", ...places), start(CHILD, "save", ...places)];
      await Promise.all(savers.map(({ ready }) => ready));
      const killed = sleep(random.integer(40));
      await look();
      await killed;
      for (const saver of savers) saver.kill();
      for (const { signal, stderr } of await Promise.all(savers.map(({ ended }) => ended)))
        if (signal !== "SIGKILL") throw new Error(`a saver ended by itself: ${stderr}`);
      found.kills += savers.length;
      await look();
      found.files = Math.max(found.files, (await readdir(folder)).length);
    }
    return found;
  });
}

/**
 * Two processes save at one path while four load from it, 25 times each in a round.
 *
 * @returns `failed` counts saves that threw and loads that found no whole pair.
 */
export function saversAndReaders(e2cm, both, rounds) {
  return withExits(e2cm, both, async (_, places) => {
    const found = { rounds, saves: 0, loads: 0, failed: 0 };
    // Ten rounds by the same six processes: to start them takes longer than what they do.
    for (let at = 0; at < rounds; at += 10) {
      const times = 25 * Math.min(10, rounds - at);
      const modes = ["save", "save", "load", "load", "load", "load"];
      const children = modes.map((mode) => start(CHILD, mode, ...places, String(times)));
      for (const { code, stdout, stderr } of await Promise.all(children.map(({ ended }) => ended))) {
        if (code !== 0) throw new Error(stderr);
        found.failed += JSON.parse(stdout.trim().split("\n").at(-1)).failed;
      }
      found.saves += 2 * times;
      found.loads += 4 * times;
    }
    return found;
  });
}

/**
 * Saves exits over older ones on a file system that is full at another place each time.
 *
 * @param both The older and the newer exits.
 * @param folder On a small file system.
 * @param fill Leaves so many bytes free there.
 * @returns `refused` counts saves that said that the disk is full; `lost` the times that no whole pair was there afterwards.
 */
export async function fullDisk({ loadExits, saveExits }, both, rounds, folder, fill) {
  const found = { rounds, saved: 0, refused: 0, otherErrors: 0, lost: 0, leftOvers: 0 };
  const path = join(folder, "saved");
  for (let at = 0; at < rounds; at++) {
    await fill(Number.POSITIVE_INFINITY);
    await saveExits(path, both[at % 2]);
    const before = (await readdir(folder)).length;
    await fill(Math.floor((at * 16_384) / rounds));
    await saveExits(path, both[(at + 1) % 2]).then(
      () => found.saved++,
      (error) => {
        if (/full disk/.test(error.message) && error.name === "InputError") found.refused++;
        else found.otherErrors++;
        return readdir(folder).then((names) => {
          if (names.length > before) found.leftOvers++;
        });
      },
    );
    const loaded = await loadExits(path).catch(() => null);
    if (loaded === null) found.lost++;
  }
  return found;
}
