import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

interface Report {
  /** Cases that agree with PyTorch if `wrong` is empty. */
  readonly right: number;
  readonly wrong: readonly string[];
  /** Cases of which faults of the runtime are known. */
  readonly known: Readonly<Record<string, { readonly wrong: number; readonly right: number }>>;
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
  const skipped = Object.entries(report.known).map(
    ([reason, count]) => `  ${count.wrong + count.right} cases skipped: ${reason} (${count.wrong} of them wrong)\n`,
  );
  process.stdout.write(`contract on webgpu: ${report.right} cases\n${skipped.join("")}`);
  expect(report.wrong).toEqual([]);
  // A fault that the runtime no longer has must leave the list.
  for (const [reason, count] of Object.entries(report.known)) expect(count.wrong, reason).toBeGreaterThan(0);
});
