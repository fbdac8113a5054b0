import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { zipSync } from "fflate";
import { PNG } from "pngjs";
import { expect, it } from "vitest";
import { renderReport } from "../src/commands/report.ts";
import { unpackDeb } from "../src/data/deb.ts";
import { download } from "../src/data/download.ts";
import { recordsFromSheet } from "../src/data/sheets.ts";
import { unpackWheel } from "../src/data/smollm2.ts";
import { placeLabels } from "../src/report/labels.ts";
import { SILENT } from "../src/terminal/progress.ts";
import { temporaryFolder } from "./helpers.ts";
import { sampleE2cm } from "./report-samples.ts";
import { serve } from "./server.ts";

it("a download takes no more than it should have, whatever the server says", async () => {
  const url = await serve(new Uint8Array(3_000_000));
  const file = join(await temporaryFolder(), "file");
  const site = { url, sum: ["md5", "x"], size: 5, timeout: 5000 } as const;
  await expect(download(site, file, SILENT, undefined)).rejects.toThrow("more than the 5 bytes it should have");
  expect((await readFile(file)).length).toBeLessThan(10);
});

it("a byte now and then is given up at the deadline", async () => {
  const server = createServer((_, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write("x"), 20);
    response.on("close", () => clearInterval(timer));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const file = join(await temporaryFolder(), "file");
  const site = { url, sum: ["md5", "x"], size: 1000, timeout: 300 } as const;
  await expect(download(site, file, SILENT, undefined)).rejects.toThrow(/only \d+ bytes in time/);
  server.closeAllConnections();
  server.close();
});

it("a package is not unpacked beyond its limit", async () => {
  const deb = fileURLToPath(new URL("../fixtures/fashion-tiny.deb", import.meta.url));
  const to = join(await temporaryFolder(), "data.tar");
  await unpackDeb(deb, to);
  const whole = (await readFile(to)).length;
  await expect(unpackDeb(deb, to, whole - 1)).rejects.toThrow(`more than ${whole - 1} bytes when unpacked`);
});

it("a wheel's file that says it is larger than any is not made", () => {
  const wheel = Buffer.from(zipSync({ "package/a.txt": Buffer.from("some text") }));
  expect(unpackWheel("w.whl", wheel, ["a.txt", "b.txt"]).get("a.txt")).toEqual(
    new Uint8Array(Buffer.from("some text")),
  );
  // The size unpacked, in the directory at the end of the archive.
  wheel.writeUInt32LE(4_000_000_000, wheel.indexOf("PK\u0001\u0002") + 24);
  expect(() => unpackWheel("w.whl", wheel, ["a.txt"])).toThrow("a.txt of w.whl says that it has 4000000000 bytes");
  // Below the limit, and more than its 11 deflated bytes can become; or than the whole archive can, where those are said to be more.
  wheel.writeUInt32LE(100_000_000, wheel.indexOf("PK\u0001\u0002") + 24);
  expect(() => unpackWheel("w.whl", wheel, ["a.txt"])).toThrow("bytes, more than 11352");
  wheel.writeUInt32LE(90_000_000, wheel.indexOf("PK\u0001\u0002") + 20);
  expect(() => unpackWheel("w.whl", wheel, ["a.txt"])).toThrow(`bytes, more than ${1032 * wheel.length}`);
  // What is deflated best is not refused.
  const zeros = Buffer.from(zipSync({ "z.bin": new Uint8Array(5_000_000) }, { level: 9 }));
  expect(unpackWheel("z.whl", zeros, ["z.bin"]).get("z.bin")!.length).toBe(5_000_000);
});

it("a picture's size is looked at before it is made", async () => {
  const png = PNG.sync.write(new PNG({ width: 1024, height: 1 }));
  const labels = [0];
  expect(recordsFromSheet(png, labels, 0)).toHaveLength(3073);
  const said = (width: number, height: number) => {
    const changed = Buffer.from(png);
    changed.writeUInt32BE(width, 16);
    changed.writeUInt32BE(height, 20);
    return () => recordsFromSheet(changed, labels, 0);
  };
  expect(said(20_000, 20_000)).toThrow("the sheet must be 1024 pixels wide; got 20000");
  expect(said(1024, 4_000_000_000)).toThrow("4000000000 labels are needed; got 1");
  expect(() => recordsFromSheet(png.subarray(0, 20), labels, 0)).toThrow("the sheet must be a PNG");
});

it("a result whose numbers cannot be is refused by its place", () => {
  const changed = (place: "macsFraction" | "accuracy", value: number) => {
    const result = sampleE2cm();
    return { ...result, rows: result.rows.map((row, index) => (index === 3 ? { ...row, [place]: value } : row)) };
  };
  expect(() => renderReport([changed("macsFraction", -1000)])).toThrow(
    /^bench\.report: rows\.3\.macsFraction of result 1 must be what bench run writes; got Too small/,
  );
  expect(() => renderReport([changed("accuracy", 1.5)])).toThrow("rows.3.accuracy of result 1");
  // As large as a number gets: the curve leaves the picture, and the page is made all the same.
  expect(renderReport([changed("macsFraction", 1e300)])).toContain("</html>");
});

it("names are placed by the part of a curve that is seen, however far the rest is", () => {
  const bounds = { left: 0, right: 400, top: 0, bottom: 300 };
  const curve = {
    name: "far",
    pixels: [
      [50, 100],
      [350, 200],
      [350 + 1e15, 200],
    ] as const,
  };
  const near = {
    name: "far",
    pixels: [
      [50, 100],
      [350, 200],
      [500, 200],
    ] as const,
  };
  expect(placeLabels([curve], bounds)).toEqual(placeLabels([near], bounds));
  const through = placeLabels(
    [
      {
        name: "through",
        pixels: [
          [-1e12, 150],
          [1e12, 150],
        ],
      },
    ],
    bounds,
  );
  expect([through![0]!.x >= 0, through![0]!.x <= 400]).toEqual([true, true]);
  expect(
    placeLabels(
      [
        {
          name: "outside",
          pixels: [
            [-1e12, -1e12],
            [-1e9, -1e12],
          ],
        },
      ],
      bounds,
    ),
  ).toEqual([]);
  expect(
    placeLabels(
      [
        {
          name: "nowhere",
          pixels: [
            [Number.NaN, 0],
            [Number.POSITIVE_INFINITY, 1],
          ],
        },
      ],
      bounds,
    ),
  ).toEqual([]);
});
