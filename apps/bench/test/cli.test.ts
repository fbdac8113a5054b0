import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { runCli } from "../src/cli.ts";
import { editionsOf } from "../src/data/source.ts";
import { experiment } from "../src/experiments/experiment.ts";
import { EPOCHS, MINUTES, SEEDS } from "../src/experiments/options.ts";
import { list, resultSchema } from "../src/experiments/result.ts";
import { ended, startNode } from "./child.ts";
import { memory, temporaryFolder } from "./helpers.ts";

let computed = 0;

const TINY = experiment({
  name: "tiny",
  title: "A test",
  about: "Counts the test pictures.",
  heading: "Tiny",
  takes: [EPOCHS, MINUTES],
  reads: ["cifar10"],
  presets: { quick: { extra: 0 }, full: { extra: 1 } },
  schema: resultSchema({ rows: list(z.number()), extras: z.record(z.string(), z.unknown()) }),
  async run({ data, run, progress, extras }, { extra }) {
    const stage = progress.stage("counting", 1, "sets");
    const count = await run.step("count", async () => {
      computed++;
      return (await data.cifar10()).test.n;
    });
    stage.done();
    return { rows: [count + extra], extras };
  },
  summary: ({ rows, seed }) => ({
    table: { head: ["pictures", "seed"], body: [[String(rows[0]), String(seed)]] },
    notes: ["a note"],
  }),
  report: ({ rows }) => ({
    headline: { sentence: `${rows.length} counted.` },
    sections: [{ id: "rows", title: "Rows", content: [] }],
    method: { Counting: "One by one." },
  }),
});

/** Knows an option that TINY does not take. */
const SEEDED = { ...TINY, name: "seeded", takes: [SEEDS] };

async function bench(...args: string[]) {
  const [stdout, stderr] = [memory(), memory()];
  const code = await runCli(args, stdout, stderr, [TINY, SEEDED]);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

let environmentData: string | undefined;
beforeEach(() => {
  computed = 0;
  environmentData = process.env.EXITKIT_DATA;
  delete process.env.EXITKIT_DATA;
});
afterEach(() => {
  if (environmentData !== undefined) process.env.EXITKIT_DATA = environmentData;
});

describe("a wrong command line", () => {
  it("is told with what was meant, and ends with 2", async () => {
    const { code, stderr } = await bench("run", "tniy");
    expect([code, stderr.split("\n")[0]]).toEqual([
      2,
      `error: command-argument value 'tniy' is invalid for argument 'experiment'. Did you mean "tiny"?`,
    ]);
    expect((await bench("ruin", "tiny")).stderr).toContain("Did you mean run?");
  });

  it("--version prints the version", async () => {
    expect(await bench("--version")).toEqual({ code: 0, stdout: "0.0.0\n", stderr: "" });
  });
});

describe("bench run", () => {
  it("runs an experiment, says which data, prints its table and writes result.json", async () => {
    const out = join(await temporaryFolder(), "run");
    const { code, stdout, stderr } = await bench("run", "tiny", "--out", out, "--seed", "7");
    expect([code, stderr]).toEqual([
      0,
      expect.stringMatching(/^data: CIFAR-10 subset: 5,000 training and 2,500 test pictures/),
    ]);
    expect(stdout).toMatch(/│ +2500 │ +7 │/);
    expect(stdout).toMatch(/a note\n.*result\.json \(\d+ s\)\nreport: .*report\.html\n$/);
    expect(await readFile(join(out, "report.html"), "utf8")).toContain("1 counted.");
    const result = JSON.parse(await readFile(join(out, "result.json"), "utf8"));
    expect(result).toMatchObject({
      experiment: "tiny",
      preset: "quick",
      seed: 7,
      device: "auto",
      config: { data: "CIFAR-10 subset" },
      environment: { node: process.version },
      rows: [2500],
    });
  });

  it("prints one JSON line with --json, and reuses the finished steps of the same run", async () => {
    const out = join(await temporaryFolder(), "run");
    const args = ["run", "tiny", "--out", out, "--json", "--preset", "full", "--device", "cpu"];
    const first = await bench(...args);
    expect(first).toMatchObject({ code: 0, stderr: "" });
    expect(first.stdout.endsWith("\n") && first.stdout.trimEnd().includes("\n")).toBe(false);
    expect(JSON.parse(first.stdout)).toMatchObject({ preset: "full", device: "cpu", rows: [2501] });
    const again = await bench(...args.filter((arg) => arg !== "--json"));
    expect(again.stderr).toMatch(/going on with the run in .* 1 finished step is reused/);
    expect(computed).toBe(1);
    await bench(...args, "--fresh");
    expect(computed).toBe(2);
  }, 30_000);

  it("hands the extra options that an experiment takes to it, as part of the config", async () => {
    const out = join(await temporaryFolder(), "run");
    const { stdout } = await bench("run", "tiny", "--out", out, "--json", "--epochs", "2");
    expect(JSON.parse(stdout)).toMatchObject({ config: { epochs: 2 }, extras: { epochs: 2 } });
    expect((await bench("run", "tiny", "--out", out)).stderr).toMatch(/another config \(epochs: 2 there/);
  });

  it("goes on with the same run whatever a passing option says", async () => {
    const out = join(await temporaryFolder(), "run");
    const { stdout } = await bench("run", "tiny", "--out", out, "--json", "--minutes", "2");
    expect(JSON.parse(stdout)).toMatchObject({ extras: { minutes: 2 } });
    expect(JSON.parse(stdout).config).not.toHaveProperty("minutes");
    expect((await bench("run", "tiny", "--out", out, "--minutes", "3")).stderr).toMatch(/1 finished step is reused/);
  });

  it.each([
    [["run", "tiny", "--preset", "slow"], 2, /'slow' is invalid. Allowed choices are quick, full/],
    [["run", "tiny", "--seed", "-1"], 2, /It must be a whole number/],
    [["run", "tiny", "--epochs", "0"], 2, /It must be a whole number ≥ 1/],
    [["run", "tiny", "--seeds", "3"], 1, /^error: bench run: tiny takes no --seeds; got --seeds 3\.?\n$/],
    [["run"], 2, /missing required argument 'experiment'/],
    [["run", "tiny", "--datta", "x"], 2, /unknown option '--datta'/],
    [["fly"], 2, /unknown command 'fly'/],
    [
      ["run", "huge"],
      2,
      /^error: command-argument value 'huge' is invalid for argument 'experiment'. There are: "tiny", "seeded".\n/,
    ],
    [
      ["run", "tiny", "--data", "/no/such"],
      1,
      /^error: bench: --data must name a folder; got \/no\/such, which does not exist\. .*\n$/,
    ],
  ])("%j ends with code %i and one clear line", async (args, wanted, message) => {
    const { code, stdout, stderr } = await bench(...args);
    expect([code, stdout]).toEqual([wanted, ""]);
    expect(stderr).toMatch(message);
  });

  it("names in its config the data sets an experiment reads, where they are there", async () => {
    const folder = await temporaryFolder();
    const reading = (...reads: Parameters<typeof editionsOf>[0]) => editionsOf(reads, folder);
    expect(await reading("cifar10", "cifar100")).toBe("CIFAR-10 subset");
    for (const name of ["train.bin", "test.bin"]) await writeFile(join(folder, name), "");
    expect(await reading("cifar10", "cifar100")).toBe("CIFAR-10 subset, CIFAR-100");
    expect(await reading("fashionMnist", "mnist")).toBe("");
    // A part of the files is no data set; reading it says what is missing.
    await writeFile(join(folder, "train-images-idx3-ubyte"), "");
    expect(await reading("fashionMnist")).toBe("");
  });

  it("refuses a folder that holds a run of another config", async () => {
    const out = join(await temporaryFolder(), "run");
    await bench("run", "tiny", "--out", out);
    const { code, stderr } = await bench("run", "tiny", "--out", out, "--seed", "2", "--json");
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*another config \(seed: 1 there, 2 here\).*\n$/);
  });
});

describe("bench list", () => {
  it("lists the experiments", async () => {
    expect((await bench("list")).stdout).toMatch(/│ tiny +│ A test +│/);
    const { stdout } = await bench("list", "--json");
    expect(JSON.parse(stdout)[0]).toEqual({ name: "tiny", title: "A test", about: "Counts the test pictures." });
  });
});

describe("bench report", () => {
  it("writes a page from finished runs and says from which", async () => {
    const folder = await temporaryFolder();
    await writeFile(
      join(folder, "result.json"),
      JSON.stringify({ experiment: "tiny", preset: "full", seed: 1, device: "cpu", extras: {} }),
    );
    const out = join(folder, "page.html");
    const { code, stdout, stderr } = await bench("report", folder, "--out", out);
    expect([code, stderr, stdout]).toEqual([0, "", `from ${folder}\nreport: ${pathToFileURL(out).href}\n`]);
    expect(await readFile(out, "utf8")).toMatch(/^<!doctype html>/);
  }, 30_000);

  it("says which run is not finished or not a result", async () => {
    const folder = await temporaryFolder();
    const missing = await bench("report", folder);
    expect(missing).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^error: bench report: .* must hold a finished run's result\.json; got ENOENT/),
    });
    await writeFile(join(folder, "result.json"), "{");
    expect((await bench("report", folder)).stderr).toMatch(/result\.json must be JSON/);
  });
});

describe("bench data cifar10", () => {
  it("says what is wrong with an archive, and leaves no file", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "bad.tgz"), "not an archive");
    const data = join(folder, "data");
    const { code, stderr } = await bench(
      "data",
      "cifar10",
      "--data",
      data,
      "--archive",
      join(folder, "bad.tgz"),
      "--json",
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: bench\.data: .*bad\.tgz must be a whole cifar-10-binary\.tar\.gz.*\n$/);
    expect(await readdir(join(data, "cifar10"))).toEqual([]);
  });
});

describe("bench doctor", () => {
  it("looks at devices, data and weights", async () => {
    const { code, stdout, stderr } = await bench("doctor", "--json");
    expect([code, stderr]).toEqual([0, ""]);
    const { ok, checks } = JSON.parse(stdout) as {
      ok: boolean;
      checks: { name: string; state: string; found: string }[];
    };
    expect(ok).toBe(true);
    const state = (name: string) => checks.find((check) => check.name === name)?.state;
    for (const name of ["Node", "onnxruntime-node", "device cpu", "CIFAR-10", "weights resnet20-12fca82f"]) {
      expect([name, state(name)]).toEqual([name, "ok"]);
    }
    expect(["ok", "absent"]).toContain(state("device cuda"));
  }, 60_000);
});

describe("the bench executable", () => {
  it("runs as a process of its own: help, results on stdout, exit codes", async () => {
    const help = await ended(startNode("../src/cli.ts", ["--help"]));
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(help.stdout).toMatch(/Usage: bench .*run .*doctor .*data/s);
    const wrong = await ended(startNode("../src/cli.ts", ["run", "nothing"]));
    expect([wrong.code, wrong.stdout]).toEqual([2, ""]);
    expect(wrong.stderr).toMatch(/^error: .*'nothing' is invalid for argument 'experiment'/);
  }, 60_000);
});
