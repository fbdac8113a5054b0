import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../src/cli.ts";
import { measured } from "../src/commands/measured.ts";
import type { Experiment } from "../src/experiments/experiment.ts";
import { openTerminal } from "../src/terminal/log.ts";
import { memory, temporaryFolder } from "./helpers.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const page = join(here, "..", "..", "..", "CONTRIBUTING.md");

/** The worked example, with the sources beside it in place of above it. */
let code: string;
let folder: string;
let file: string;
beforeAll(async () => {
  const text = await readFile(page, "utf8");
  code = /```ts\n(\/\/ apps\/bench\/src\/experiments\/[\s\S]*?)```/.exec(text)![1]!;
  folder = await mkdtemp(join(here, ".example-"));
  file = join(folder, "index.ts");
  const moved = code.replace(/from "\.\.\/(?!\.)/g, 'from "../../src/experiments/');
  await writeFile(file, moved.replace(/from "\.\.\/\.\.\/(?!src)/g, 'from "../../src/'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the worked example of CONTRIBUTING.md", () => {
  it("is short, and type-checks", () => {
    expect(code.split("\n").length).toBeLessThan(120);
    const { config } = ts.readConfigFile(join(here, "..", "..", "..", "tsconfig.base.json"), ts.sys.readFile);
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, here);
    const program = ts.createProgram([file], { ...options, noEmit: true, customConditions: ["source"] });
    const own = ts.getPreEmitDiagnostics(program, program.getSourceFile(file));
    expect(own.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))).toEqual([]);
  }, 120_000);

  it("runs as an experiment: result, report and measured page", async () => {
    const { plainSizes } = (await import(/* @vite-ignore */ file)) as { plainSizes: Experiment };
    const out = join(await temporaryFolder(), "run");
    const [stdout, stderr] = [memory(), memory()];
    const args = ["run", "plain-sizes", "--out", out, "--device", "cpu", "--json"];
    expect([await runCli(args, stdout, stderr, [plainSizes]), stderr.text()]).toEqual([0, ""]);
    const { rows } = JSON.parse(stdout.text());
    expect(rows.map(({ seed, pictures }: { seed: number; pictures: number }) => [seed, pictures])).toEqual([
      [1, 50],
      [1, 100],
      [2, 50],
      [2, 100],
    ]);
    for (const { accuracy } of rows) expect(accuracy).toBeGreaterThan(0.7);
    expect(await readFile(join(out, "report.html"), "utf8")).toContain("Accuracy by size of the sample");

    const root = await temporaryFolder();
    await mkdir(join(root, "docs"));
    await writeFile(join(root, "README.md"), "before\n<!-- measured -->\nold\n<!-- end of measured -->\nafter\n");
    const terminal = openTerminal(memory(), memory(), false);
    expect(await measured([out], {}, [plainSizes], terminal, root)).toBe(true);
    expect(await readFile(join(root, "docs", "measured.md"), "utf8")).toMatch(/\| 50 \| \d\d\.\d\d % ± \d+\.\d\d \|/);
    expect(await measured([], { check: true }, [plainSizes], terminal, root)).toBe(true);
    await writeFile(join(root, "docs", "measured.md"), "by hand\n");
    expect(await measured([], { check: true }, [plainSizes], terminal, root)).toBe(false);
  }, 120_000);
});
