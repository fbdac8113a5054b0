import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { claimFolder, generator, openDevice, training } from "../src/index.ts";
import { compileTiny, points } from "./training/tiny.ts";

let base: string;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "claim-"));
});
afterAll(() => rm(base, { recursive: true, force: true }));

const owner = (folder: string) => readFile(join(folder, ".owner.json"), "utf8").then(JSON.parse);

test("a folder has one owner at a time, and is left as it was found", async () => {
  const folder = join(base, "a", "b");
  const claim = await claimFolder("test", folder);
  expect(await owner(folder)).toMatchObject({ pid: process.pid, host: hostname() });
  await expect(claimFolder("test", folder)).rejects.toThrow(
    `test: ${folder} must be a run's own; got a run of process ${process.pid} in it. Wait for it, or choose another folder.`,
  );
  await claim.release();
  expect(await readdir(folder)).toEqual([]);
  const next = await claimFolder("test", folder);
  // The first one's is gone: releasing again must not give away the second one's.
  await claim.release();
  await expect(claimFolder("test", folder)).rejects.toThrow("a run of process");
  await next.release();
});

test("of many that claim at once one gets it", async () => {
  const folder = join(base, "many");
  for (let round = 0; round < 20; round++) {
    // Half of the rounds find what a process left that is gone.
    if (round % 2 === 0)
      await claimFolder("test", folder).then(async ({ release }) => {
        const left = { host: hostname(), pid: 2 ** 22 + 1, started: "long ago", claim: `${round}` };
        await release();
        await writeFile(join(folder, ".owner.json"), JSON.stringify(left));
      });
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => claimFolder("test", folder)));
    const got = tries.filter((result) => result.status === "fulfilled");
    expect(got).toHaveLength(1);
    for (const result of tries) if (result.status === "rejected") expect(String(result.reason)).toContain("InputError");
    await got[0]!.value.release();
    expect(await readdir(folder)).toEqual([]);
  }
});

test("what a killed process left is taken over, and a number that came again is not taken for it", async () => {
  const folder = join(base, "killed");
  await (await claimFolder("test", folder)).release();
  const child = spawn(process.execPath, ["-e", "setTimeout(() => {}, 60000); console.log('up')"]);
  await once(child.stdout, "data");
  const stat = await readFile(`/proc/${child.pid}/stat`, "utf8").catch(() => null);
  const boot = (await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "")).trim();
  const started = stat === null ? "alive" : `${boot} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  const claimOf = (changes: object) => {
    const left = { host: hostname(), pid: child.pid, started, claim: "x", ...changes };
    return writeFile(join(folder, ".owner.json"), JSON.stringify(left));
  };
  await claimOf({});
  await expect(claimFolder("test", folder)).rejects.toThrow(`a run of process ${child.pid} in it`);
  if (stat !== null) {
    await claimOf({ started: `${boot} 1` });
    await (await claimFolder("test", folder)).release();
  }
  await claimOf({});
  child.kill("SIGKILL");
  await once(child, "exit");
  await (await claimFolder("test", folder)).release();
  await claimOf({ host: "elsewhere" });
  await expect(claimFolder("test", folder)).rejects.toThrow(`a run of process ${child.pid} on elsewhere in it. Choose`);
  await writeFile(join(folder, ".owner.json"), "{");
  await (await claimFolder("test", folder)).release();
});

test("a folder that cannot be made is named, and /proc does not hold the process", async () => {
  await writeFile(join(base, "file"), "");
  await expect(claimFolder("test", join(base, "file", "x"))).rejects.toThrow("got a file where a folder should be");
  if (process.platform !== "linux") return;
  await expect(claimFolder("test", "/proc/x/y")).rejects.toThrow("test: must be able to write /proc/x/y");
});

test("two runs in one folder: the second is refused before it touches the first one's checkpoints", async () => {
  const device = await openDevice("cpu");
  const checkpoint = { folder: join(base, "runs"), everySteps: 1 };
  const options = async (more: Partial<training.TrainOptions> = {}): Promise<training.TrainOptions> => ({
    runner: await compileTiny(device),
    data: points(),
    batchSize: 8,
    epochs: 2,
    generator: generator(1),
    learningRate: 0.1,
    checkpoint,
    ...more,
  });
  const second = await options({ resume: true });
  let refused = 0;
  const onStep = async () => {
    await training.train(second).catch((error) => {
      expect(String(error)).toContain("must be a run's own; got a run of process");
      refused++;
    });
  };
  expect(await training.train(await options({ onStep }))).toMatchObject({ steps: 6 });
  expect(refused).toBe(6);
  expect(await training.train(second)).toMatchObject({ steps: 6 });
  await device.close();
});
