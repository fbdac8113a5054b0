import fs, { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Device, generator, InputError, openDevice } from "@exitkit/core-gpu";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  exitRecord,
  type FittedExits,
  fit,
  loadExits,
  openClassifier,
  quantisedExits,
  recordScores,
  saveExits,
} from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";
import { exampleNetwork } from "./networks.ts";

/** When set, files of that name fail half way through being written, as on a full disk. */
let full: string | undefined;
const { open } = fs;
beforeAll(() => {
  fs.open = async (...args) => {
    const handle = await open(...args);
    if (full === undefined || !String(args[0]).includes(full) || args[1] === "r") return handle;
    const write = handle.writeFile.bind(handle);
    handle.writeFile = async (data) => {
      await write(data.slice(0, data.length / 2) as string);
      throw Object.assign(new Error("ENOSPC: injected"), { code: "ENOSPC" });
    };
    return handle;
  };
  syncBuiltinESMExports();
});
afterAll(() => {
  fs.open = open;
  syncBuiltinESMExports();
});

const model = tinyModel();
const test = batches("test", 60);
let device: Device;
let folder: string;
let path: string;
const fitted: Record<string, FittedExits> = {};

/** The file of tensors that a saved JSON names. */
async function tensorsOf(path: string): Promise<string> {
  const json = JSON.parse(await readFile(`${path}.json`, "utf8")) as { tensors: { file: string } };
  return join(folder, json.tensors.file);
}

beforeAll(async () => {
  device = await openDevice("cpu");
  const options = { classes: 4, calibration: test, device } as const;
  const train = batches("train", 60);
  fitted.sharedCovariance = await fit(model, train, { ...options, features: "pooled", reject: { quantile: 0.9 } });
  fitted.euclidean = await fit(model, train, { ...options, metric: "euclidean", last: "nearestMean", rule: "raw" });
});
afterAll(() => device.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "exits-test-"));
  path = join(folder, "tiny");
});
afterEach(async () => {
  full = undefined;
  await rm(folder, { recursive: true, force: true });
});

describe("a round trip", () => {
  it.each(["sharedCovariance", "euclidean"])("gives the very same %s exits back", async (metric) => {
    await saveExits(path, fitted[metric]!);
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^tiny\.[0-9a-f]{16}\.safetensors$/), "tiny.json"]);
    const loaded = await loadExits(path);
    expect(loaded).toEqual(fitted[metric]);
    const scores = await recordScores(model, fitted[metric]!, test, { device });
    expect(await recordScores(model, loaded, test, { device })).toEqual(scores);
  });

  it.each(["sharedCovariance", "euclidean"])("in int8, gives quantisedExits of %s exits", async (metric) => {
    await saveExits(path, fitted[metric]!, { precision: "int8" });
    expect(await loadExits(path)).toEqual(quantisedExits(fitted[metric]!));
    const bytes = (await readFile(await tensorsOf(path))).length;
    await saveExits(path, fitted[metric]!);
    expect(bytes).toBeLessThan(0.6 * (await readFile(await tensorsOf(path))).length);
  });

  it.each(["euclidean", "shared"] as const)("of format 1 loads, and answers as it did: %s", async (name) => {
    const folder = new URL("../fixtures/saved-1/", import.meta.url);
    const answers = JSON.parse(await readFile(new URL("answers.json", folder), "utf8")) as Record<string, string[]>;
    const loaded = await loadExits(fileURLToPath(new URL(`saved-1-${name}`, folder)));
    expect(loaded).toMatchObject({ classes: 4, counts: null, rejection: null });
    expect(loaded.last).toBe(name === "euclidean" ? "nearestMean" : "head");
    const record = exitRecord(loaded, await recordScores(model, loaded, test, { device }));
    expect(record.predictions.map((row) => row.join(""))).toEqual(answers[name]);
    await saveExits(path, loaded);
    expect(await loadExits(path)).toEqual(loaded);
  });

  it("replaces an older pair", async () => {
    await saveExits(path, fitted.euclidean!);
    await saveExits(path, fitted.sharedCovariance!);
    expect(await loadExits(path)).toEqual(fitted.sharedCovariance);
  });

  it("sweeps what nothing names any more, once no other save can be at work on it", async () => {
    await saveExits(path, fitted.euclidean!);
    const older = await tensorsOf(path);
    await writeFile(join(folder, ".tiny.json.0123456789ab.tmp"), "half a file");
    await writeFile(join(folder, "tiny.other.safetensors"), "of someone else");
    await saveExits(path, fitted.sharedCovariance!);
    expect(await readdir(folder)).toHaveLength(5);
    const past = new Date(Date.now() - 3_600_000);
    for (const name of await readdir(folder)) await utimes(join(folder, name), past, past);
    await saveExits(path, fitted.sharedCovariance!);
    const left = await readdir(folder);
    expect(left).toHaveLength(3);
    expect(left).not.toContain(basename(older));
    expect(await loadExits(path)).toEqual(fitted.sharedCovariance);
  });
});

// Killed savers, and readers beside them: test/drills.test.ts at the root.
describe("one commit point", () => {
  it("two that save at once in one process both succeed", async () => {
    for (let round = 0; round < 10; round++) {
      const both = [fitted.euclidean!, fitted.sharedCovariance!];
      await Promise.all([...both, ...both].map((exits) => saveExits(path, exits)));
      const { exits } = await loadExits(path);
      expect(["euclidean", "sharedCovariance"]).toContain(exits[0]!.metric);
    }
  });
});

describe("refused", () => {
  it("with another model than they were fitted on", async () => {
    await saveExits(path, fitted.sharedCovariance!);
    const loaded = { ...(await loadExits(path)), classes: 10, output: null };
    const own = loaded.modelHash.slice(0, 16);
    for (const use of [
      () => openClassifier(exampleNetwork("vgg"), loaded, { aimedAccuracyLoss: 1, device }),
      () => recordScores(exampleNetwork("vgg"), loaded, test, { device }),
    ]) {
      await expect(use()).rejects.toThrow(
        new RegExp(
          `^e2cm\\.\\w+: the exits were fitted on the model with sha256 ${own}…; got a model with sha256 [0-9a-f]{16}….*fit again`,
        ),
      );
    }
  });

  it("a file that is not there, of another save, or another format", async () => {
    await expect(loadExits(path)).rejects.toThrow(
      /^e2cm\.loadExits: .*tiny\.json must be a file that can be read; got ENOENT/,
    );
    await saveExits(path, fitted.euclidean!);
    const older = await readFile(await tensorsOf(path));
    await saveExits(path, fitted.sharedCovariance!);
    await writeFile(await tensorsOf(path), older);
    await expect(loadExits(path)).rejects.toThrow(/tiny\.\w+\.safetensors must have the sha256 .*save again/);
    await rm(await tensorsOf(path));
    await expect(loadExits(path)).rejects.toThrow(/tiny\.\w+\.safetensors must be a file that can be read; got ENOENT/);
    await writeFile(`${path}.json`, '{"format":"other"}');
    await expect(loadExits(path)).rejects.toThrow(
      /tiny\.json must describe saved exits \(exitkit\/e2cm\/2, or 1\); got format/,
    );
  });

  it("a JSON whose parts do not fit together", async () => {
    await saveExits(path, fitted.sharedCovariance!);
    const json = JSON.parse(await readFile(`${path}.json`, "utf8"));
    const refusal = async (change: (changed: typeof json) => void) => {
      const changed = structuredClone(json);
      change(changed);
      await writeFile(`${path}.json`, JSON.stringify(changed));
      return loadExits(path).then(
        () => "accepted",
        (error) => (error instanceof InputError ? error.message : error),
      );
    };
    expect(await refusal(() => {})).toBe("accepted");
    expect(await refusal((changed) => changed.operatingPoints[0].thresholds.pop())).toContain("operatingPoints.0");
    expect(await refusal((changed) => changed.costs.exits.pop())).toContain("costs.exits");
    expect(await refusal((changed) => changed.exits.pop())).toContain("costs.exits");
    expect(await refusal((changed) => changed.exits[0].map.d--)).toContain('hold float32 "0.matrix"');
    expect(await refusal((changed) => changed.extra++)).toContain("extra");
    expect(await refusal((changed) => (changed.tensors.file = "../x.safetensors"))).toContain("tensors.file");
    expect(await refusal((changed) => delete changed.exits[0].means.shrinkage)).toContain("exits.0");
    expect(await refusal((changed) => changed.counts.pop())).toContain("counts: 3 for 4 classes");
    expect(await refusal((changed) => changed.rejection.thresholds.pop())).toContain("rejection.thresholds: 3");
    expect(await refusal((changed) => (changed.output = null))).toContain("output: none");
    expect(await refusal((changed) => (changed.output.scores = 5))).toContain('hold float32 "last.matrix"');
  });

  it("what has been cut short or has flipped bits: never anything but an InputError", { timeout: 30_000 }, async () => {
    await saveExits(path, fitted.sharedCovariance!);
    const random = generator(5);
    let opened = 0;
    for (const ending of ["json", "safetensors"]) {
      const file = ending === "json" ? `${path}.json` : await tensorsOf(path);
      const whole = await readFile(file);
      for (let round = 0; round < 300; round++) {
        const bytes = Buffer.from(whole);
        for (let flips = 0; flips <= round % 3; flips++) bytes[random.integer(bytes.length)]! ^= 1 << random.integer(8);
        const cut = round % 4 === 0 ? bytes.subarray(0, random.integer(bytes.length)) : bytes;
        await writeFile(file, cut);
        const outcome = await loadExits(path).catch((error: unknown) => error);
        if (outcome instanceof InputError) continue;
        // Such as another digit of a cost: it must not bring the network down either.
        expect(outcome).not.toBeInstanceOf(Error);
        expect(ending).toBe("json");
        if (opened++ > 25) continue;
        const use = await openClassifier(model, outcome as FittedExits, { device }).catch((error: unknown) => error);
        if (use instanceof Error) expect(use).toBeInstanceOf(InputError);
        else await (use as Awaited<ReturnType<typeof openClassifier>>).release();
      }
      await writeFile(file, whole);
    }
    expect(await loadExits(path)).toEqual(fitted.sharedCovariance);
  });
});

describe("a full disk", () => {
  it.each(["json", "safetensors"])("while the %s is written leaves no file", async (ending) => {
    full = ending === "json" ? "json" : ".sa";
    await expect(saveExits(path, fitted.euclidean!)).rejects.toThrow(
      /must be able to write .*tiny\..*; got a full disk/,
    );
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(["json", "safetensors"])("while the %s is written leaves an older pair as it was", async (ending) => {
    await saveExits(path, fitted.sharedCovariance!);
    full = ending === "json" ? "json" : ".sa";
    await expect(saveExits(path, fitted.euclidean!)).rejects.toThrow("a full disk");
    full = undefined;
    expect(await readdir(folder)).toHaveLength(2);
    expect(await loadExits(path)).toEqual(fitted.sharedCovariance);
  });

  it("or a folder that is not there, and an unknown precision", async () => {
    await expect(saveExits(join(folder, "no", "x"), fitted.euclidean!)).rejects.toThrow(/got no folder .*mkdir -p/);
    await expect(saveExits(path, fitted.euclidean!, { precision: "int4" as "int8" })).rejects.toThrow(
      /^e2cm\.saveExits: .*option "precision".*got "int4"/,
    );
  });
});
