import { execFile } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { PNG } from "pngjs";
import { describe, expect, test } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { temporaryFolder } from "./helpers.ts";
import { sampleE2cm, sampleStaged } from "./report-samples.ts";

const browser = findBrowser();
const LIMIT = 90_000;

function findBrowser(): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome"];
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find(isProgram);
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** A screenshot of the page and what the browser's console said. */
async function look(page: string, dark = false, width = 1280): Promise<{ image: PNG; console: string[] }> {
  const folder = await temporaryFolder();
  await writeFile(join(folder, "page.html"), page);
  const { stderr } = await promisify(execFile)(
    browser!,
    [
      ..."--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking".split(
        " ",
      ),
      ..."--disable-component-update --disable-sync --enable-logging=stderr".split(" "),
      `--user-data-dir=${join(folder, "profile")}`,
      `--window-size=${width},2400`,
      `--blink-settings=preferredColorScheme=${dark ? 0 : 1}`,
      `--screenshot=${join(folder, "page.png")}`,
      pathToFileURL(join(folder, "page.html")).href,
    ],
    { timeout: LIMIT },
  );
  const image = PNG.sync.read(await readFile(join(folder, "page.png")));
  return { image, console: stderr.split("\n").filter((line) => line.includes(":CONSOLE")) };
}

function color({ data, width }: PNG, x: number, y: number): number {
  const at = (y * width + x) * 4;
  return (data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!;
}

/** Share of the pixels that are not the background's. */
function inked(image: PNG): number {
  const paper = color(image, 2, 2);
  let count = 0;
  for (let at = 0; at < image.width * image.height; at++) {
    if (color(image, at % image.width, Math.floor(at / image.width)) !== paper) count++;
  }
  return count / (image.width * image.height);
}

function brightness(rgb: number): number {
  return ((rgb >> 16) + ((rgb >> 8) & 255) + (rgb & 255)) / 3;
}

const reason = browser === undefined ? " (skipped: no chromium, chromium-browser or google-chrome on PATH)" : "";

describe.skipIf(browser === undefined)(`in a browser${reason}`, () => {
  test("the page shows its content in both colour schemes and the console stays silent", {
    timeout: 2 * LIMIT,
  }, async () => {
    const page = renderReport([sampleE2cm(), sampleStaged()]);
    const light = await look(page);
    const dark = await look(page, true);
    for (const { image, console } of [light, dark]) {
      expect(console).toEqual([]);
      expect(inked(image)).toBeGreaterThan(0.02);
    }
    expect(brightness(color(light.image, 2, 2))).toBeGreaterThan(230);
    expect(brightness(color(dark.image, 2, 2))).toBeLessThan(40);
  });

  test("an empty page and a page that loads something are noticed", { timeout: 2 * LIMIT }, async () => {
    const { image } = await look("<!doctype html><title>empty</title>");
    expect(inked(image)).toBe(0);
    const page = renderReport([sampleStaged()]).replace("</main>", '<img src="https://example.invalid/x.png"></main>');
    expect((await look(page)).console.join()).toContain("Content Security Policy");
  });
});
