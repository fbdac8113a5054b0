import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { Device, Diagnosis } from "../src/device/device.ts";
import { fixture } from "./support/device-fixture.ts";

interface Report {
  readonly diagnoses: readonly Diagnosis[];
  readonly auto: Device["kind"];
  readonly passedOver: readonly Diagnosis[];
  readonly once: Readonly<Record<string, { shape: number[]; data: number[] }>>;
  readonly twice: Report["once"];
  readonly same: boolean;
}

// Debian's chromium brings a Vulkan driver that computes on the CPU; drivers are chosen when a process starts.
const driver = { folder: "/usr/lib/chromium", file: "/usr/lib/chromium/vk_swiftshader_icd.json" };
const installed = existsSync(driver.file);
const title = installed
  ? "WebGPU over SwiftShader gives PyTorch's numbers, and auto passes it over"
  : `WebGPU over SwiftShader: skipped, there is no ${driver.file} (Debian package chromium)`;

test.skipIf(!installed)(title, { timeout: 60_000 }, async () => {
  const path = (name: string) => fileURLToPath(new URL(`./support/${name}`, import.meta.url));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--import", path("register-typescript.mjs"), path("webgpu-child.ts")],
    { env: { ...process.env, VK_DRIVER_FILES: driver.file, LD_LIBRARY_PATH: driver.folder }, maxBuffer: 2 ** 24 },
  );
  const report: Report = JSON.parse(
    stdout
      .split("\n")
      .find((line) => line.startsWith("REPORT"))!
      .slice("REPORT".length),
  );

  const webgpu = report.diagnoses.find(({ kind }) => kind === "webgpu");
  expect(webgpu).toMatchObject({ available: true, software: true });
  expect(webgpu?.reason).toContain("SwiftShader emulates the graphics card on the CPU");
  expect(report.auto).not.toBe("webgpu");
  if (report.auto === "cpu") expect(report.passedOver).toContainEqual(webgpu);

  const close = (actual: readonly number[] | undefined, expected: readonly number[]) => {
    expect(actual).toHaveLength(expected.length);
    expect(Math.max(...expected.map((value, i) => Math.abs(value - actual![i]!)))).toBeLessThan(1e-4);
  };
  const { hidden, logits } = fixture.convolution;
  expect(report.once.logits?.shape).toEqual([2, 5]);
  close(report.once.logits?.data, logits);
  close(report.once.hidden?.data, hidden);
  expect(report.twice.logits?.shape).toEqual([4, 5]);
  close(report.twice.logits?.data, [...logits, ...logits]);
  expect(report.same).toBe(true);
});
