import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

type Listed = Readonly<Record<string, { dtype: string; shape: number[]; data: number[] }>>;

// Debian's chromium brings a Vulkan driver that computes on the CPU; drivers are chosen when a process starts.
const driver = { folder: "/usr/lib/chromium", file: "/usr/lib/chromium/vk_swiftshader_icd.json" };
const installed = existsSync(driver.file);
const title = installed
  ? "state that stays on the card goes the way of state on the CPU"
  : `state on WebGPU: skipped, there is no ${driver.file} (Debian package chromium)`;

test.skipIf(!installed)(title, { timeout: 60_000 }, async () => {
  const path = (name: string) => fileURLToPath(new URL(`./support/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", path("register-typescript.mjs"), path("webgpu-runner-child.ts"), "cpu", "webgpu"],
    { env: { ...process.env, VK_DRIVER_FILES: driver.file, LD_LIBRARY_PATH: driver.folder }, maxBuffer: 2 ** 24 },
  );
  const line = stdout.split("\n").find((text) => text.startsWith("REPORT"))!;
  const { cpu, webgpu } = JSON.parse(line.slice("REPORT".length)) as Record<string, (Listed | string)[]>;
  expect(cpu).toHaveLength(16);
  expect(webgpu).toHaveLength(16);
  cpu!.forEach((expected, at) => {
    const actual = webgpu![at]!;
    if (typeof expected === "string" || typeof actual === "string") {
      expect(actual).toBe(expected);
      return;
    }
    expect(Object.keys(actual)).toEqual(Object.keys(expected));
    for (const [name, { dtype, shape, data }] of Object.entries(expected)) {
      expect(actual[name]).toMatchObject({ dtype, shape });
      const worst = Math.max(...data.map((value, i) => Math.abs(value - actual[name]!.data[i]!)));
      expect(worst, `${name} of report ${at}`).toBeLessThan(1e-4);
    }
  });
  // The state moved, and the loss fell where nothing else changed.
  const [before, , , , , , after] = cpu as Listed[];
  expect(after!["params.weight"]!.data).not.toEqual(before!["params.weight"]!.data);
  expect(after!["params.steps"]!.data).toEqual([4]);
  expect(after!["params.scale"]!.data).toEqual([1.5]);
});
