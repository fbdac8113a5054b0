import { mkdirSync, mkdtempSync, readdirSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { allExamples, docComments, fences, layOutFiles } from "../scripts/examples.mjs";

const root = resolve(import.meta.dirname, "..");
const run = `run-${process.pid}`;

// Examples lie inside their package, so that they can import what a user of the package can. Those of pages outside the
// packages lie in e2cm, which has the others below it.
const examples = allExamples().map((example, index) => {
  const owner = /^packages\/[^/]+/.exec(example.file)?.[0] ?? "packages/e2cm";
  const folder = join(root, owner, ".examples");
  return { ...example, folder, path: join(folder, run, `example-${index}.ts`) };
});
const folders = [...new Set(examples.map(({ folder }) => folder))];

const work = mkdtempSync(join(tmpdir(), "exitkit-examples-"));
const before = process.cwd();
let complaints: ReadonlyMap<string, readonly string[]>;

beforeAll(() => {
  for (const folder of folders) mkdirSync(join(folder, run), { recursive: true });
  // Empty lines in front, so that an error's line is the line of the file the example comes from.
  for (const { path, line, code } of examples) writeFileSync(path, `${"\n".repeat(line - 1)}${code}\n`);
  complaints = typeErrors(examples.map(({ path }) => path));
}, 120_000);

afterAll(() => {
  process.chdir(before);
  rmSync(work, { recursive: true, force: true });
  for (const folder of folders) {
    rmSync(join(folder, run), { recursive: true, force: true });
    try {
      rmdirSync(folder);
    } catch {
      // Another run's examples are still there.
    }
  }
});

describe("examples", () => {
  it("are found in every README and in the doc comments", () => {
    const counted = (pattern: RegExp) => examples.filter(({ file }) => pattern.test(file)).length;
    for (const folder of readdirSync(join(root, "packages"))) {
      expect(counted(new RegExp(`^packages/${folder}/README\\.md$`)), folder).toBeGreaterThan(0);
      expect(counted(new RegExp(`^packages/${folder}/src/`)), folder).toBeGreaterThan(0);
    }
    expect(examples.filter(({ noRun }) => noRun !== null).length, "examples that do not run").toBeLessThan(3);
  });

  for (const { file, line, path, noRun } of examples) {
    it(`${file}:${line}${noRun === null ? "" : ` (types only: ${noRun})`}`, async () => {
      expect(complaints.get(resolve(path))).toEqual([]);
      if (noRun === null) expect(await failedAssertions(path)).toEqual([]);
    }, 60_000);
  }
});

describe("the collector", () => {
  it("takes ts fences, their line and their reason not to run", () => {
    const page = "# Title\n\n```ts\nconst a = 1;\n```\n\n```sh\nls\n```\n\n```ts no-run: needs a GPU\nb();\n```\n";
    expect(fences("page.md", page)).toEqual([
      { file: "page.md", line: 4, code: "const a = 1;", noRun: null },
      { file: "page.md", line: 12, code: "b();", noRun: "needs a GPU" },
    ]);
  });

  it("takes the examples of doc comments", () => {
    const source = "const x = 1;\n/**\n * Adds.\n * @example\n * ```ts\n * if (x) {\n *   y();\n * }\n * ```\n */\n";
    expect(docComments("a.ts", source)).toEqual([{ file: "a.ts", line: 6, code: "if (x) {\n  y();\n}", noRun: null }]);
  });

  it("refuses examples that nobody would check", () => {
    expect(() => fences("a.md", "```typescript\nx\n```")).toThrow(/a\.md:2: code fences are ```ts.*got typescript/);
    expect(() => fences("a.md", "```ts no-run\nx\n```")).toThrow(/no-run: reason/);
    expect(() => fences("a.md", "```ts\nx")).toThrow(/not closed/);
    expect(() => docComments("a.ts", "/**\n * @example add(1)\n */")).toThrow(/without a ```ts fence/);
  });
});

/** Type errors of all examples, by file, under the packages' own compiler options. */
function typeErrors(paths: readonly string[]): Map<string, string[]> {
  const folder = join(root, "packages/e2cm");
  const { config } = ts.readConfigFile(join(folder, "tsconfig.json"), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, folder);
  // An example may define what only its reader goes on to use.
  const program = ts.createProgram(paths, { ...options, rootDir: root, noUnusedLocals: false });
  const found = new Map<string, string[]>(paths.map((path) => [resolve(path), []]));
  for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
    const message = ts.flattenDiagnosticMessageText(messageText, "\n");
    if (file === undefined) throw new Error(message);
    const line = file.getLineAndCharacterOfPosition(start ?? 0).line + 1;
    found.get(resolve(file.fileName))?.push(`line ${line}: ${message}`); // sources have their own check
  }
  return found;
}

/** Runs an example in a folder of its own with the files examples name; what `console.assert` found wrong. */
async function failedAssertions(path: string): Promise<string[]> {
  const failed: string[] = [];
  const assert = vi.spyOn(console, "assert").mockImplementation((condition, ...rest) => {
    if (!condition) failed.push(`console.assert failed ${rest.join(" ")}\n${new Error().stack?.split("\n")[2]}`);
  });
  const log = vi.spyOn(console, "log").mockImplementation(() => {});
  const folder = mkdtempSync(join(work, "in-"));
  layOutFiles(folder);
  process.chdir(folder);
  try {
    await import(/* @vite-ignore */ path);
  } finally {
    process.chdir(before);
    assert.mockRestore();
    log.mockRestore();
  }
  return failed;
}
