import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openDataSource } from "../src/data/source.ts";
import type { Context } from "../src/experiments/experiment.ts";
import { claimsOf } from "../src/experiments/llm-exit-init/claims.ts";
import { llmExitInit } from "../src/experiments/llm-exit-init/index.ts";
import { type LlmResult, type LlmRow, schema } from "../src/experiments/llm-exit-init/schema.ts";
import type { Plan, Settings } from "../src/experiments/llm-exit-init/settings.ts";
import { encoded, smollm2Subject, storiesSubject } from "../src/experiments/llm-exit-init/subject.ts";
import { checkResult } from "../src/experiments/result.ts";
import { markdown } from "../src/report/markdown.ts";
import { openRun } from "../src/runs/run.ts";
import { SILENT } from "../src/terminal/progress.ts";
import { temporaryFolder } from "./helpers.ts";

const plan: Plan = {
  ...{ fit: 4000, calibration: 600, test: 900, window: 64 },
  ...{ layers: [1, 4], layer: 4, alphas: [0.6, 1], factors: [1, 4] },
  training: {
    ...{ settings: ["frozen", "not frozen"], tokens: 600, judged: 400, length: 32, batch: 8, epochs: 1 },
    learningRates: { frozen: 1e-3, "not frozen": 1e-4 },
    seeds: { frozen: 1, "not frozen": 1 },
    rates: [0.1],
  },
  ...{ timed: 8, hidden: 8 },
  shift: { tokens: [600], calibration: 300, test: 300, epochs: 1 },
};

describe("the text of stories260K", () => {
  test("is cut into parts of whole documents that do not overlap", async () => {
    const subject = await storiesSubject(plan);
    expect(subject.border).toBe(1);
    expect([subject.fit, subject.calibration, subject.test].map(({ tokens }) => tokens.length)).toEqual([
      3968, 576, 896,
    ]);
    const decoded = (tokens: Iterable<number>) => subject.decoder.tokenizer!.decode([...tokens]);
    expect(decoded(subject.fit.tokens)).toContain("One day, a little girl named Lily found a needle");
    // The first stories are fitted, the last ones tested; the last test story is the one to be looked at.
    expect(decoded(subject.test.tokens)).toContain(decoded(subject.story).slice(0, 60));
    expect(decoded(subject.fit.tokens)).not.toContain(decoded(subject.story).slice(0, 60));
    expect(subject.training!.tokens).toEqual(subject.fit.tokens.subarray(0, subject.training!.tokens.length));
  });

  test("that is too short for what is asked is refused", async () => {
    const { decoder } = await storiesSubject(plan);
    expect(() => encoded(decoder, ["Once upon a time", "there was a girl"], 100)).toThrow(
      /the text must have 100 tokens; got \d+\. Take a longer text/,
    );
    expect(encoded(decoder, ["Once upon a time", " ", "there was a girl"], 8)).toMatchObject({ documents: 3 });
  });

  test("SmolLM2 is left out where it is not in the data folder", async () => {
    expect(await smollm2Subject(undefined, plan)).toBeNull();
    expect(await smollm2Subject(await temporaryFolder(), plan)).toBeNull();
  });
});

describe("a small run", () => {
  test("gives every row, is what its schema says, and goes on where it was", async () => {
    const folder = await temporaryFolder();
    const config = { experiment: "llm-exit-init", preset: "quick", seed: 1, device: "cpu" };
    const measure = async () => {
      const run = await openRun(join(folder, "run"), config, SILENT);
      const context: Context = {
        ...{ preset: "quick", seed: 1, device: "cpu", extras: {}, run, progress: SILENT },
        data: openDataSource(undefined, SILENT),
      };
      const settings: Settings = { stories: plan, tales: null, smollm2: null };
      const own = await llmExitInit.run(context, settings as never);
      return checkResult(llmExitInit, { ...config, config, environment: run.environment, ...own }) as LlmResult;
    };
    const result = await measure();
    const { rows, alphas, noises, rates, shifts, speeds, stories, claims } = result;
    const [story] = stories;
    expect(rows.filter(({ setting }) => setting === "closed form").length).toBe(2 * 9);
    // Seven heads side by side, six one by one; before and after one epoch.
    expect(rows.filter(({ setting }) => setting === "frozen").length).toBe(2 * 7);
    expect(rows.filter(({ setting }) => setting === "not frozen").length).toBe(2 * 6);
    expect([alphas.length, noises.length, speeds.length, claims.length]).toEqual([8, 4, 2, 5]);
    // Three heads before and after three epochs; four as they were, two made anew, two merged, three trained.
    expect([rates.length, shifts.length]).toEqual([3 * 4, 4 + 2 + 2 + 3]);
    expect(shifts.every(({ full, accuracy }) => full === shifts[0]!.full && accuracy <= 1)).toBe(true);
    const of = (init: string, setting = "closed form", layer = 4, epoch = 0) =>
      rows.find((row) => row.init === init && row.setting === setting && row.layer === layer && row.epoch === epoch)!;
    expect(of("copy+norm").accuracy).toBeGreaterThan(of("copy+norm", "closed form", 1).accuracy);
    expect(of("map + classes").crossEntropy).toBeLessThan(of("class-aware").crossEntropy);
    // α = 1 is the class-aware head itself, and so is N₀ times 1.
    for (const row of alphas.filter(({ alpha }) => alpha === 1)) expect(row.accuracy).toBe(of("class-aware").accuracy);
    expect(noises.find(({ layer, factor }) => layer === 4 && factor === 1)!.accuracy).toBe(of("class-aware").accuracy);
    // Frozen, the full model stays what it was; not frozen, the exits begin where they begin frozen.
    expect(of("random", "frozen", 4, 1).full).toBe(of("random", "frozen").full);
    expect(of("copy", "not frozen").accuracy).toBe(of("copy", "frozen").accuracy);
    expect(of("random", "frozen", 4, 1).crossEntropy).toBeLessThan(of("random", "frozen").crossEntropy);
    expect(story!.exits).toEqual(["block1", "block4", "full model"]);
    expect(story!.pieces.map(({ text }) => text).join("")).toMatch(/^ \w/);

    const again = await measure();
    expect({ ...again, environment: null }).toEqual({ ...result, environment: null });

    const page = markdown(llmExitInit.measured!(result, new Map()));
    expect(page).toContain("| map + classes |");
    expect(page).not.toMatch(/NaN|undefined/);
    const { headline, sections } = llmExitInit.report(result);
    expect(headline.sentence).toMatch(/After 1 of 5 blocks of stories260K/);
    // Every exit of the story has a look of its own, the full model too.
    const looks = JSON.stringify(sections).match(/border-bottom: 3px [^"\\]+/g)!;
    expect(new Set(looks).size).toBe(3);
    expect(JSON.stringify(sections)).not.toMatch(/NaN|undefined/);
    expect(llmExitInit.summary(result).table).toMatchObject({ body: { length: 9 } });
  }, 240_000);

  test("of nothing says so", () => {
    const empty = schema.parse({ experiment: "llm-exit-init", preset: "quick", seed: 1, device: "cpu" });
    expect(llmExitInit.report(empty).headline.sentence).toMatch(/nothing was measured/);
    expect(llmExitInit.summary(empty).table).toMatchObject({ body: [] });
  });
});

describe("the paper's sentences", () => {
  const row = (init: string, setting: LlmRow["setting"], epoch: number, accuracy: number, seed?: number): LlmRow => ({
    ...{ model: "m", layer: 2, init, setting, epoch, accuracy, crossEntropy: 1, agreement: 0, full: 0.5 },
    ...(seed === undefined ? {} : { seed }),
  });
  const first = (classAware: number, copy: number) => [
    row("class-aware", "closed form", 0, classAware),
    row("copy", "closed form", 0, copy),
  ];
  const statuses = (rows: readonly LlmRow[], alphas: Parameters<typeof claimsOf>[1] = []) =>
    claimsOf(rows, alphas).map(({ status }) => status);

  test("are judged by what was measured, or said not to be", () => {
    expect(statuses(first(0.45, 0.1))).toEqual([
      "as the paper says",
      "not attempted",
      "not attempted",
      "not attempted",
    ]);
    expect(statuses(first(0.3, 0.1))[0]).toBe("otherwise");
    const alpha = (of: number, accuracy: number) => ({
      ...{ model: "m", layer: 2, partner: "random", combineBias: "weight", alpha: of, accuracy, crossEntropy: 1 },
    });
    expect(statuses(first(0.3, 0.1), [alpha(1, 0.2), alpha(0.6, 0.3)])[1]).toBe("as the paper says");
    expect(statuses(first(0.3, 0.1), [alpha(1, 0.2), alpha(0.8, 0.3), alpha(0.6, 0.25)])[1]).toBe("otherwise");
    expect(statuses(first(0.3, 0.1), [alpha(1, 0.2)])[1]).toBe("not attempted");
  });

  test("about training go by means and spread over seeds", () => {
    const trained = (setting: LlmRow["setting"], values: Readonly<Record<string, readonly [number, number]>>) =>
      Object.entries(values).flatMap(([init, pair]) =>
        pair.flatMap((accuracy, seed) => [row(init, setting, 0, 0.2, seed), row(init, setting, 1, accuracy, seed)]),
      );
    const frozen = (classAware: readonly [number, number]) =>
      trained("frozen", { "class-aware": classAware, copy: [0.1, 0.12], random: [0.05, 0.05] });
    expect(statuses([...first(0.3, 0.1), ...frozen([0.3, 0.3])]).slice(1)).toEqual([
      "not attempted",
      "as the paper says",
      "otherwise",
    ]);
    expect(statuses([...first(0.3, 0.1), ...frozen([0.1, 0.13])]).slice(2)).toEqual([
      "within the spread",
      "as the paper says",
    ]);
    expect(statuses([...first(0.3, 0.1), ...frozen([0.05, 0.05])])[2]).toBe("otherwise");
    const joint = (mixed: readonly [number, number]) =>
      trained("not frozen", { "class-aware": [0.2, 0.2], copy: [0.3, 0.32], "0.6 class-aware + 0.4 copy": mixed });
    expect(statuses([...first(0.3, 0.1), ...joint([0.4, 0.4])])[1]).toBe("as the paper says");
    expect(statuses([...first(0.3, 0.1), ...joint([0.3, 0.31])])[1]).toBe("within the spread");
    expect(statuses([...first(0.3, 0.1), ...joint([0.1, 0.1])])[1]).toBe("otherwise");
  });
});
