import { type Device, generator, openDevice, type Tensor, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  cascade,
  cascadeRecord,
  chooseCascade,
  countExitCosts,
  fitTemperature,
  type MeasuredMembers,
  measureMembers,
  recordExits,
  replay,
} from "../src/index.ts";
import { classifier, K } from "./classifiers.ts";
import { randomBatch } from "./networks.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const labelled = (n: number, seed = 7) => {
  const random = generator(seed);
  return { x: randomBatch(n, [3, 6, 6], seed), y: Int32Array.from({ length: n }, () => random.integer(K)) };
};

/** Members whose logits are right with a given chance, surer where they are right. */
function imagined(n: number, chances: readonly number[], macs: readonly number[], seed = 3): MeasuredMembers {
  const random = generator(seed);
  const labels = Int32Array.from({ length: n }, () => random.integer(K));
  // What is hard for one is hard for all.
  const hard = Array.from({ length: n }, () => random.uniform());
  const members = chances.map((chance, j) => {
    const data = new Float32Array(n * K);
    labels.forEach((label, i) => {
      const right = hard[i]! + 0.1 * random.normal() < chance;
      const said = right ? label : (label + 1 + random.integer(K - 1)) % K;
      for (let c = 0; c < K; c++) data[i * K + c] = random.normal() * 0.3;
      data[i * K + said]! += right ? 2 + 3 * random.uniform() : 1 + 2 * random.uniform();
    });
    return {
      name: `net${j}`,
      logits: tensor("float32", [n, K], data),
      temperature: 1,
      macs: macs[j]!,
      milliseconds: macs[j]! / 100,
      callMilliseconds: 0,
    };
  });
  return { members, labels, batch: 64 };
}

describe("fitTemperature", () => {
  const random = generator(1);
  const logits = tensor(
    "float32",
    [200, 4],
    Float32Array.from({ length: 800 }, () => 3 * random.normal()),
  );
  const labels = Int32Array.from({ length: 200 }, (_, i) => {
    const row = [...logits.data.subarray(4 * i, 4 * i + 4)];
    return random.uniform() < 0.6 ? row.indexOf(Math.max(...row)) : random.integer(4);
  });
  const loss = (temperature: number) =>
    labels.reduce((sum, label, i) => {
      const row = [...logits.data.subarray(4 * i, 4 * i + 4)].map((value) => value / temperature);
      return sum + Math.log(row.reduce((all, value) => all + Math.exp(value), 0)) - row[label]!;
    }, 0);

  it("is at the least of a fine grid", () => {
    const found = fitTemperature(logits, labels);
    for (let step = -2000; step <= 2000; step++)
      expect(loss(found)).toBeLessThanOrEqual(loss(10 ** (step / 1000)) + 1e-9);
    expect(found).toBeGreaterThan(1);
  });

  it("scales with the logits, leaves samples without a class out, and ends where nothing ends it", () => {
    const found = fitTemperature(logits, labels);
    const doubled = tensor(
      "float32",
      [200, 4],
      logits.data.map((value) => 2 * value),
    );
    expect(fitTemperature(doubled, labels) / found).toBeCloseTo(2, 4);
    const some = labels.map((label, i) => (i < 100 ? label : -1));
    const half = tensor("float32", [100, 4], logits.data.slice(0, 400));
    expect(fitTemperature(logits, some)).toBeCloseTo(fitTemperature(half, labels.slice(0, 100)), 6);
    const always = tensor("float32", [2, 2], [1, 0, 1, 0]);
    expect(fitTemperature(always, Int32Array.of(0, 0))).toBeCloseTo(0.01, 4);
    expect(fitTemperature(always, Int32Array.of(1, 1))).toBeCloseTo(100, 2);
  });

  it("refuses what is no labelled logits", () => {
    expect(() => fitTemperature(tensor("float32", [4]), Int32Array.of(0))).toThrow(/shape \[n, k\]/);
    expect(() => fitTemperature(undefined as unknown as Tensor, labels)).toThrow(/shape \[n, k\]/);
    expect(() => fitTemperature(tensor("int32", [1, 2]) as Tensor, Int32Array.of(0))).toThrow(
      /float32 or float64; got int32/,
    );
    expect(() => fitTemperature(logits, labels.slice(1))).toThrow(/200 labels, one for each row/);
    expect(() =>
      fitTemperature(
        logits,
        labels.map(() => 4),
      ),
    ).toThrow(/0..3, or be −1; got 4 at sample 0/);
    expect(() =>
      fitTemperature(
        logits,
        labels.map(() => -1),
      ),
    ).toThrow(/at least one sample/);
    expect(() => fitTemperature(tensor("float32", [1, 2], [Number.NaN, 0]), Int32Array.of(0))).toThrow(
      /must be finite/,
    );
  });
});

describe("measureMembers", () => {
  it("gives each network's logits over its temperature, its MACs and a time", async () => {
    const members = [4, 8].map((channels, j) => ({ name: `net${channels}`, model: classifier(j + 1, channels) }));
    const data = labelled(60);
    const measured = await measureMembers(device, members, [data], { batch: 8, repeats: 3 });
    const { exits } = await countExitCosts(device, cascade(members));
    expect(measured.members.map(({ macs }) => macs)).toEqual([exits[0], exits[1]! - exits[0]!]);
    expect(measured.labels).toEqual(data.y);
    for (const { milliseconds, callMilliseconds } of measured.members) {
      expect(milliseconds).toBeGreaterThan(0);
      expect(callMilliseconds).toBeGreaterThanOrEqual(0);
      expect(callMilliseconds).toBeLessThanOrEqual(8 * milliseconds);
    }
    // The record of the cascade with these temperatures is what is worked out from the logits.
    for (const answer of ["own", "averaged"] as const) {
      const given = members.map((member, j) => ({ ...member, temperature: measured.members[j]!.temperature }));
      const real = await recordExits(device, cascade(given, { answer }), [data]);
      const made = cascadeRecord(measured.members, data.y, answer);
      expect(made.predictions).toEqual(real.predictions);
      made.confidences.forEach((row, j) => {
        row.forEach((value, i) => {
          expect(value).toBeCloseTo(real.confidences[j]![i]!, 5);
        });
      });
    }
  });

  it("stops between two batches and between two timed runs", async () => {
    const members = [{ name: "a", model: classifier(1, 4) }];
    const stop = new AbortController();
    let closed = false;
    async function* stream() {
      try {
        yield labelled(8);
        stop.abort(new Error("enough"));
        yield labelled(8);
      } finally {
        closed = true;
      }
    }
    const stopped = measureMembers(device, members, stream(), { batch: 8, repeats: 1000, signal: stop.signal });
    await expect(stopped).rejects.toThrow("enough");
    expect(closed).toBe(true);
    const late = new AbortController();
    const timing = measureMembers(device, members, [labelled(8)], { batch: 8, repeats: 1000, signal: late.signal });
    setTimeout(() => late.abort(new Error("too long")), 20);
    await expect(timing).rejects.toThrow("too long");
  });

  it("needs a batch to time", async () => {
    const members = [{ name: "a", model: classifier(1, 4) }];
    await expect(measureMembers(device, members, [labelled(5)], { batch: 6 })).rejects.toThrow(
      /at least 6 samples.*got 5/,
    );
  });
});

describe("chooseCascade", () => {
  const measured = imagined(1200, [0.7, 0.85, 0.9, 0.95], [10, 30, 60, 100]);
  const chosen = chooseCascade(measured, { maxAccuracyLoss: 0.01, random: generator(1) });

  it("refuses a logit that is none, by member and sample", () => {
    const [first, ...others] = measured.members;
    const data = first!.logits.data.slice();
    data[5 * K + 1] = Number.NaN;
    const members = [{ ...first!, logits: { ...first!.logits, data } }, ...others];
    expect(() => chooseCascade({ ...measured, members }, { random: generator(1) })).toThrow(
      `logits of member "${first!.name}" must be finite; got NaN at sample 5`,
    );
  });

  it("tries every subset that could win, and promises what was not chosen", () => {
    expect(chosen.tried).toBeLessThanOrEqual(15);
    expect(chosen.best.members.length).toBeGreaterThan(1);
    expect(chosen.best.members.at(-1)).toBe("net3");
    expect(chosen.best.costFraction).toBeLessThan(0.8);
    expect(chosen.best.accuracy).toBeGreaterThan(chosen.referenceAccuracy - 0.025);
    const single = chosen.steps[0]!;
    expect(single.members).toEqual(["net3"]);
    expect(single.costFraction).toBeCloseTo(1, 12);
    expect(single.accuracy).toBeCloseTo(chosen.referenceAccuracy, 12);
  });

  it("is the best of all subsets by brute force on thresholds of a grid", () => {
    const { members, labels } = measured;
    const grid = Array.from({ length: 40 }, (_, i) => i / 40);
    let least = Number.POSITIVE_INFINITY;
    for (const j of [0, 1, 2]) {
      const pair = [members[j]!, members[3]!];
      const record = cascadeRecord(pair, labels, "averaged");
      const costs = { exits: [pair[0]!.macs, pair[0]!.macs + 100], full: 100 };
      for (const threshold of grid) {
        const { accuracy, costFraction } = replay(record, [threshold], costs);
        if (accuracy >= chosen.referenceAccuracy - 0.01) least = Math.min(least, costFraction);
      }
    }
    const macs = chooseCascade(measured, {
      objective: "macs",
      maxAccuracyLoss: 0.01,
      standardErrors: 0,
      most: 2,
      random: generator(1),
    });
    expect(macs.best.onChosen.costFraction).toBeLessThan(least + 0.03);
  });

  it("thresholds given are those of all samples, for the cascade given", () => {
    const subset = chosen.best.members.map((name) => measured.members.find((member) => member.name === name)!);
    const record = cascadeRecord(subset, measured.labels, "averaged");
    let sum = 0;
    const costs = { exits: subset.map(({ milliseconds }) => (sum += milliseconds)), full: 1 };
    const { accuracy } = replay(record, chosen.best.thresholds, costs);
    expect(accuracy).toBeGreaterThanOrEqual(chosen.referenceAccuracy - 0.01 - 1e-12);
  });

  it("loses less on other samples with standard errors of room than without, on average", () => {
    const whole = imagined(6000, [0.7, 0.85, 0.9, 0.91], [10, 30, 60, 100], 11);
    const on = (from: number, to: number) => ({
      ...whole,
      labels: whole.labels.slice(from, to),
      members: whole.members.map((member) => ({
        ...member,
        logits: tensor("float32", [to - from, K], member.logits.data.slice(from * K, to * K)),
      })),
    });
    const lostBy = (standardErrors: number) => {
      const losses = [0, 1, 2, 3, 4, 5, 6, 7].map((part) => {
        const seen = on(part * 750, part * 750 + 375);
        const other = on(part * 750 + 375, part * 750 + 750);
        const { best } = chooseCascade(seen, { objective: "macs", standardErrors, most: 2, random: generator(1) });
        const joined = best.members.map((name) => other.members.find((member) => member.name === name)!);
        let sum = 0;
        const costs = { exits: joined.map(({ macs }) => (sum += macs)), full: 100 };
        const full = replay(cascadeRecord([other.members[3]!], other.labels, "own"), [], { exits: [100], full: 100 });
        return full.accuracy - replay(cascadeRecord(joined, other.labels, "averaged"), best.thresholds, costs).accuracy;
      });
      return losses;
    };
    const mean = (losses: readonly number[]) => losses.reduce((a, b) => a + b, 0) / losses.length;
    const without = mean(lostBy(0));
    expect(without).toBeGreaterThan(0.002);
    expect(mean(lostBy(1))).toBeLessThan(without / 2);
    expect(mean(lostBy(2))).toBeLessThan(0);
  });

  it("pays a late member's call for every batch", () => {
    const { members, labels } = measured;
    const dear = members.map((member, j) => ({ ...member, callMilliseconds: j === 0 ? 0 : 32 * member.milliseconds }));
    const options = { maxAccuracyLoss: 0.01, most: 2, random: generator(1) } as const;
    const { best } = chooseCascade({ members: dear, labels, batch: 64 }, options);
    if (best.members.length > 1) expect(best.onChosen.costFraction).toBeGreaterThan(0.5);
    const [pair] = chooseCascade({ members: [dear[1]!, dear[3]!], labels, batch: 64 }, options).steps.slice(1);
    // net1 at .3 for all, half of net3's time for its call, the other half for those who reach it.
    const record = cascadeRecord([dear[1]!, dear[3]!], labels, "averaged");
    const reached = 1 - replay(record, pair!.thresholds, { exits: [30, 130], full: 100 }).shares[0]!;
    expect(pair!.onChosen.costFraction).toBeCloseTo(0.3 + 0.5 + 0.5 * reached, 9);
    const odd = [{ ...dear[0]!, callMilliseconds: 65 * dear[0]!.milliseconds }];
    expect(() => chooseCascade({ members: odd, labels, batch: 64 }, options)).toThrow(
      /callMilliseconds of member "net0"/,
    );
  });

  it("one network is itself; a useless one is named and left out", () => {
    const alone = imagined(100, [0.9], [50]);
    expect(chooseCascade(alone, { random: generator(1) }).best).toMatchObject({
      members: ["net0"],
      thresholds: [],
      costFraction: 1,
    });
    const useless = imagined(400, [0.8, 0.5, 0.95], [10, 40, 100]);
    const { notes, best } = chooseCascade(useless, { maxAccuracyLoss: 0.02, random: generator(1) });
    expect(notes).toEqual(['"net1" costs no less than "net0" and is no more accurate: alone it is of no use.']);
    expect(best.members).not.toContain("net1");
  });

  it("refuses what no cascade reaches", () => {
    const asked = { maxAccuracyLoss: -0.5, random: generator(1) };
    expect(() => chooseCascade(measured, asked)).toThrow(/must reach the accuracy asked for; got none of \d+, 1\.\d+/);
  });

  it("refuses what was not measured", () => {
    const random = generator(1);
    expect(() => chooseCascade(undefined as never, { random })).toThrow(/at least one member/);
    expect(() => chooseCascade({ ...measured, members: [] }, { random })).toThrow(/at least one member/);
    expect(() => chooseCascade({ ...measured, labels: new Int32Array(3) }, { random })).toThrow(/at least 4 samples/);
    expect(() => chooseCascade(measured, { random, reference: "net9" })).toThrow(/reference must be one of "net0"/);
    expect(() => chooseCascade(measured, {} as never)).toThrow(/generator/);
    const free = { ...measured, members: measured.members.map((member) => ({ ...member, macs: 0 })) };
    expect(() => chooseCascade(free, { random })).toThrow(/costs of member "net0" must be > 0/);
  });
});
