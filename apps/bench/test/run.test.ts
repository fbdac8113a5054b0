import { once } from "node:events";
import { appendFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors, writeSafetensors } from "@exitkit/core-gpu";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openRun } from "../src/runs/run.ts";
import { decodeValue, encodeValue } from "../src/runs/values.ts";
import { createProgress, SILENT } from "../src/terminal/progress.ts";
import { ended, startNode } from "./child.ts";
import { memory, temporaryFolder } from "./helpers.ts";

const CONFIG = { experiment: "test", preset: "quick", seed: 1 };

describe("kept values", () => {
  it("come back equal, whatever the plain data", () => {
    const leaf = fc.oneof(
      fc.double(),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
      fc.float32Array(),
      fc.float64Array(),
      fc.int32Array(),
      fc.bigInt64Array(),
      fc.uint8Array(),
    );
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        leaf,
        fc.array(tie("tree")),
        fc.dictionary(
          fc.string().filter((key) => !key.startsWith("$") && key !== "__proto__"),
          tie("tree"),
          { noNullPrototype: true },
        ),
      ),
    }));
    fc.assert(
      fc.property(tree, (value) => {
        const { json, arrays } = encodeValue(value);
        expect(decodeValue(json, arrays)).toEqual(value);
      }),
    );
  });

  it("must be plain data", () => {
    expect(() => encodeValue({ a: [new Map()] })).toThrow(/plain data.*got a Map at result\.a\[0\]/);
    expect(() => encodeValue({ f: () => 1 })).toThrow(/a function at result\.f/);
    expect(() => encodeValue(undefined)).toThrow(/got undefined at result/);
    expect(() => encodeValue({ b: new Float32Array(2), c: new Int8Array(1) })).toThrow(/a Int8Array at result\.c/);
  });
});

describe("openRun", () => {
  it("reuses finished steps of the same config and says so; new ones are computed", async () => {
    const path = join(await temporaryFolder(), "a", "b");
    const first = await openRun(path, CONFIG, SILENT);
    const value = { scores: Float32Array.of(1, 2.5, Number.NaN), rows: [1, -0, 3], name: "x" };
    expect(await first.step("one", () => Promise.resolve(value))).toEqual(value);
    await first.metric({ accuracy: 0.5 });
    await expect(first.step("two", () => Promise.reject(new Error("killed")))).rejects.toThrow("killed");

    const stderr = memory();
    const second = await openRun(path, CONFIG, createProgress(stderr));
    expect(stderr.text()).toMatch(/going on with the run in .*: 1 finished step is reused/);
    expect(await second.step("one", () => Promise.reject(new Error("computed again")))).toEqual(value);
    expect(await second.step("two", () => Promise.resolve(2))).toBe(2);
    await second.finish({ done: true });
    expect((await readdir(path)).sort()).toEqual([
      "config.json",
      "environment.json",
      "metrics.jsonl",
      "result.json",
      "steps",
    ]);
    expect(JSON.parse(await readFile(join(path, "config.json"), "utf8"))).toEqual(CONFIG);
    expect(JSON.parse(await readFile(join(path, "result.json"), "utf8"))).toEqual({ done: true });
    const environment = JSON.parse(await readFile(join(path, "environment.json"), "utf8"));
    expect(environment).toMatchObject({ node: process.version, onnxruntime: expect.stringMatching(/^1\./) });
    expect(environment.loadAverage).toHaveLength(3);
  });

  it("refuses another config, naming what differs, and --fresh starts anew", async () => {
    const path = await temporaryFolder();
    const first = await openRun(path, CONFIG, SILENT);
    await first.step("one", () => Promise.resolve(1));
    const other = { ...CONFIG, seed: 2 };
    await expect(openRun(path, other, SILENT)).rejects.toThrow(
      /another config \(seed: 1 there, 2 here\).*--out, or --fresh/,
    );
    const fresh = await openRun(path, other, SILENT, { fresh: true });
    expect(await fresh.step("one", () => Promise.resolve(5))).toBe(5);
  });

  it("does not touch a folder with other files", async () => {
    const path = await temporaryFolder();
    await writeFile(join(path, "thesis.txt"), "mine");
    await expect(openRun(path, CONFIG, SILENT, { fresh: true })).rejects.toThrow(/other files \(thesis\.txt\)/);
    expect(await readdir(path)).toEqual(["thesis.txt"]);
    await expect(openRun(join(path, "thesis.txt"), CONFIG, SILENT)).rejects.toThrow(
      /must be able to make the folder .*; got a file .*thesis\.txt/,
    );
  });

  it("cuts off half a line of metrics and refuses bad and repeated keys", async () => {
    const path = await temporaryFolder();
    const first = await openRun(path, CONFIG, SILENT);
    await first.metric({ a: 1 });
    await appendFile(join(path, "metrics.jsonl"), '{"time":"20');
    const second = await openRun(path, CONFIG, SILENT);
    await second.metric({ a: 2 });
    const lines = (await readFile(join(path, "metrics.jsonl"), "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line).a)).toEqual([1, 2]);
    await expect(second.step("a/b", () => Promise.resolve(1))).rejects.toThrow(/step key must consist of/);
    await second.step("a", () => Promise.resolve(1));
    await expect(second.step("a", () => Promise.resolve(1))).rejects.toThrow(/used once; got "a" again/);
  });

  it("ignores what a kill left of a half-written step", async () => {
    const path = await temporaryFolder();
    await openRun(path, CONFIG, SILENT);
    await mkdir(join(path, "steps"), { recursive: true });
    await writeFile(join(path, "steps", ".one.step.abc.tmp"), "half");
    const run = await openRun(path, CONFIG, SILENT);
    expect(await run.step("one", () => Promise.resolve(3))).toBe(3);
  });

  it("is one process's own: a second one is refused by its number, and takes over when the first is gone", {
    timeout: 60_000,
  }, async () => {
    const path = await temporaryFolder();
    const child = startNode("./killed-run.ts", [path]);
    await once(child.stdout!, "data");
    const config = { experiment: "killed", seed: 1 };
    await expect(openRun(path, config, SILENT)).rejects.toThrow(`got a run of process ${child.pid} in it`);
    child.kill("SIGKILL");
    await ended(child);
    await (await openRun(path, config, SILENT)).finish({});
    expect(await readdir(path)).not.toContain(".owner.json");
  });

  it("a folder that cannot be made is told at once, /proc too", async () => {
    if (process.platform !== "linux") return;
    await expect(openRun("/proc/x", CONFIG, SILENT)).rejects.toThrow(/bench\.run: must be able to write \/proc\/x/);
  });

  it("what was kept is outside bytes too: errors name the file", async () => {
    const path = await temporaryFolder();
    const first = await openRun(path, CONFIG, SILENT);
    await first.step("one", () => Promise.resolve({ a: Float32Array.of(1, 2) }));
    const file = join(path, "steps", "one.step");
    const whole = await readFile(file);
    const { metadata, tensors } = readSafetensors(whole);
    const kept = async (changed: Uint8Array) => {
      await writeFile(file, changed);
      return (await openRun(path, CONFIG, SILENT)).step("one", () => Promise.resolve(0));
    };
    const config = metadata.config!;
    await expect(kept(writeSafetensors(tensors, { config }))).rejects.toThrow(
      /one\.step must be a step that was kept; got one without/,
    );
    for (const value of ['{"$array":1}', '{"$array":"0"}', '{"$array":-1}', '{"$array":{}}'])
      await expect(kept(writeSafetensors(tensors, { config, value }))).rejects.toThrow(
        /one\.step .*an \$array that names no tensor/,
      );
    await expect(kept(writeSafetensors(tensors, { config, value: '{"$number":[1]}' }))).rejects.toThrow(
      /one\.step .*a \$number/,
    );
    await expect(kept(writeSafetensors(tensors, { config, value: "{" }))).rejects.toThrow(/one\.step must be a step/);
    await expect(kept(whole.subarray(0, whole.length - 3))).rejects.toThrow(
      /one\.step must be a valid safetensors file/,
    );
    for (const text of ['{"git":{"sha":5}}', "null", "{", '{"git":null}']) {
      await writeFile(join(path, "environment.json"), text);
      expect(await kept(whole)).toEqual({ a: Float32Array.of(1, 2) });
    }
    await writeFile(join(path, "config.json"), "null");
    await expect(openRun(path, CONFIG, SILENT)).rejects.toThrow("its config.json cannot be read");
  }, 30_000);

  it("goes on after SIGKILL at any moment, computes no finished step again, and ends as an undisturbed run", async () => {
    const whole = await temporaryFolder();
    const undisturbed = await ended(startNode("./killed-run.ts", [whole]));
    expect(undisturbed.stderr).toBe("");

    const path = await temporaryFolder();
    const computed: string[] = [];
    for (const stepsBeforeKill of [2, 12]) {
      const child = startNode("./killed-run.ts", [path]);
      let seen = 0;
      child.stdout?.on("data", (chunk) => {
        seen += String(chunk).trim().split("\n").length;
        if (seen >= stepsBeforeKill) child.kill("SIGKILL");
      });
      const { signal, stdout } = await ended(child);
      if (signal === "SIGKILL") computed.push(...stdout.trim().split("\n").slice(0, -2));
    }
    const last = await ended(startNode("./killed-run.ts", [path]));
    expect(last.code).toBe(0);
    expect(last.stderr).toMatch(/going on with the run/);
    // All but the last two steps a killed process began were surely finished: none may be computed again at the end.
    const again = last.stdout.trim().split("\n");
    expect(again.filter((step) => computed.includes(step))).toEqual([]);
    expect(computed.length).toBeGreaterThan(0);
    const result = (folder: string) => readFile(join(folder, "result.json"), "utf8");
    expect(await result(path)).toBe(await result(whole));
    const steps = (await readdir(join(path, "steps"))).filter((name) => name.endsWith(".step"));
    expect(steps).toHaveLength(30);
  }, 60_000);
});
