import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { contents, estimatedBytes, LIMIT, layOut } from "../scripts/gpu-archive/contents.mjs";

const root = resolve(import.meta.dirname, "..");
const folder = mkdtempSync(join(tmpdir(), "exitkit-gpu-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const missing =
  process.platform !== "linux" || process.arch !== "x64"
    ? "this is not Linux on x64"
    : ["packages/core-gpu/dist/index.js", "apps/bench/dist/cli.js"].every((file) => existsSync(join(root, file)))
      ? null
      : "the workspace is not built";

// Nothing is compressed here: the size is estimated from samples of the large files, and the large files are linked to.
describe.skipIf(missing !== null)(`the archive for a GPU${missing === null ? "" : `, skipped: ${missing}`}`, () => {
  const entries = missing === null ? contents() : [];
  const paths = entries.map(({ path }) => path);

  it("holds Node, this platform's runtime, the contract with all its golden values and the training steps", () => {
    expect(new Set(paths).size).toBe(paths.length);
    const families = readdirSync(join(root, "packages/core-gpu/fixtures/gradients")).filter((name) =>
      /json$/.test(name),
    );
    expect(families.length).toBeGreaterThan(10);
    const core = "node_modules/@exitkit/core-gpu";
    const expected = [
      "run",
      "node",
      "node_modules/onnxruntime-node/bin/napi-v6/linux/x64/onnxruntime_binding.node",
      `${core}/test/support/contract-child.js`,
      `${core}/test/contract-support.js`,
      `${core}/fixtures/program.json`,
      ...families.map((name) => `${core}/fixtures/gradients/${name}`),
      "apps/bench/dist/zoo/train-resnet.js",
      "apps/bench/peers/train_step.py",
    ];
    expect(expected.filter((path) => !paths.includes(path))).toEqual([]);
    const libraries = paths.filter((path) => /\.(so|dll|dylib)/.test(path) && !path.startsWith("lib/"));
    expect(libraries).toEqual([expect.stringMatching(/linux\/x64\/libonnxruntime\.so\.\d+$/)]);
  });

  it("compresses to less than its limit, by an estimate that sees what does not compress", () => {
    const estimate = estimatedBytes(entries);
    expect(estimate).toBeGreaterThan(LIMIT / 3);
    expect(estimate).toBeLessThan(LIMIT);
    const from = join(folder, "noise");
    writeFileSync(from, randomBytes(5e6));
    expect(estimatedBytes([{ path: "noise", from }]) / 5e6).toBeCloseTo(1, 2);
  });

  it("runs with nothing but its own files", { timeout: 120_000 }, async () => {
    layOut(folder, entries, { link: true });
    const options = "--quick --devices cpu --models resnet20 --threads 1 --no-contract --no-peers".split(" ");
    const run = (args: readonly string[]) =>
      promisify(execFile)(join(folder, "run"), args, { env: { PATH: "/usr/bin:/bin" }, cwd: tmpdir() });
    const { stdout } = await run(options);
    const result = JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
    expect(result).toMatchObject({
      experiment: "gpu-check",
      contract: { skipped: "--no-contract" },
      problems: [],
      rows: [{ model: "resnet20", batch: 1, device: "cpu", runtime: "exitkit on cpu", ratio: null }],
    });
    const [row] = result.rows;
    expect(row.gflops / row.imagesPerSecond).toBeCloseTo((6 * 40_551_040) / 1e9, 9);
    await expect(run(["--models", "alexnet"])).rejects.toThrow(/--models: of resnet20, resnet56, .*got "alexnet"/);
  });
});
