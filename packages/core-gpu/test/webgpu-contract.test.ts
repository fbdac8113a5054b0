import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

interface Report {
  readonly cases: number;
  readonly wrong: readonly string[];
}

const driver = { folder: "/usr/lib/chromium", file: "/usr/lib/chromium/vk_swiftshader_icd.json" };
const installed = existsSync(driver.file);
const title = installed
  ? "WebGPU over SwiftShader: results and gradients equal PyTorch's"
  : `WebGPU over SwiftShader: skipped, there is no ${driver.file} (Debian package chromium)`;

test.skipIf(!installed)(title, { timeout: 600_000 }, async () => {
  const path = (name: string) => fileURLToPath(new URL(`./support/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", path("register-typescript.mjs"), path("contract-child.ts")],
    { env: { ...process.env, VK_DRIVER_FILES: driver.file, LD_LIBRARY_PATH: driver.folder }, maxBuffer: 2 ** 26 },
  );
  const report: Report = JSON.parse(
    stdout
      .split("\n")
      .find((line) => line.startsWith("REPORT"))!
      .slice("REPORT".length),
  );
  process.stdout.write(`contract on webgpu: ${report.cases} cases\n`);
  expect(report.wrong).toEqual([]);
});
