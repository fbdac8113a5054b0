import { appendFile, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openTerminal } from "../src/terminal/log.ts";
import { memory, temporaryFolder } from "./helpers.ts";

const bench = fileURLToPath(new URL("..", import.meta.url));
const page = join(bench, "..", "..", "CONTRIBUTING.md");

/** The worked example, added to a copy of the sources: its files and a line of each list. */
let blocks: readonly string[];
let folder: string;
const files: string[] = [];
beforeAll(async () => {
  const text = await readFile(page, "utf8");
  blocks = [...text.matchAll(/```ts\n(\/\/ apps\/bench\/src\/[\s\S]*?)```/g)].map(([, block]) => block!);
  folder = await mkdtemp(join(bench, ".example-"));
  await cp(join(bench, "src"), join(folder, "src"), { recursive: true });
  for (const name of ["assets", "package.json"]) await symlink(join(bench, name), join(folder, name));
  for (const block of blocks) {
    const file = join(folder, /^\/\/ apps\/bench\/(.*)\n/.exec(block)![1]!);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, block);
    files.push(file);
  }
  await appendFile(join(folder, "src/data/sets/index.ts"), 'export { mirrored } from "./mirrored.ts";\n');
  await appendFile(
    join(folder, "src/experiments/rooms.ts"),
    'export { sampleSizes } from "./sample-sizes/index.ts";\n',
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the worked example of CONTRIBUTING.md", () => {
  it("is short, and type-checks", () => {
    expect(blocks).toHaveLength(2);
    expect(blocks.join("").split("\n").length).toBeLessThan(120);
    const { config } = ts.readConfigFile(join(bench, "..", "..", "tsconfig.base.json"), ts.sys.readFile);
    const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, folder);
    const program = ts.createProgram(files, { ...options, noEmit: true, customConditions: ["source"] });
    const own = files.flatMap((file) => ts.getPreEmitDiagnostics(program, program.getSourceFile(file)));
    expect(own.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))).toEqual([]);
  }, 120_000);

  it("runs as an experiment: result, report and measured page", async () => {
    const load = (path: string) => import(/* @vite-ignore */ join(folder, "src", path));
    const { runCli } = (await load("cli.ts")) as typeof import("../src/cli.ts");
    const { measured } = (await load("commands/measured.ts")) as typeof import("../src/commands/measured.ts");
    const { EXPERIMENTS } = (await load("experiments/index.ts")) as typeof import("../src/experiments/index.ts");
    const own = EXPERIMENTS.filter(({ name }) => name === "sample-sizes");
    const out = join(await temporaryFolder(), "run");
    const [stdout, stderr] = [memory(), memory()];
    const args = ["run", "sample-sizes", "--out", out, "--device", "cpu", "--json"];
    expect([await runCli(args, stdout, stderr), stderr.text()]).toEqual([0, ""]);
    const { rows, config } = JSON.parse(stdout.text());
    expect(config.data).toBe("CIFAR-10 subset in a mirror");
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
    expect(await measured([out], {}, own, terminal, root)).toBe(true);
    expect(await readFile(join(root, "docs", "measured.md"), "utf8")).toMatch(/\| 50 \| \d\d\.\d\d % ± \d+\.\d\d \|/);
    expect(await measured([], { check: true }, own, terminal, root)).toBe(true);
    await writeFile(join(root, "docs", "measured.md"), "by hand\n");
    expect(await measured([], { check: true }, own, terminal, root)).toBe(false);
  }, 120_000);
});
