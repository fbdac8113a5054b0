import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { generator } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { fromWeb } from "../src/data/download.ts";
import { createProgress, SILENT } from "../src/terminal/progress.ts";
import { DEB, fetchFrom, fetchTiny, golden, NAMES } from "./fashion.ts";
import { memory, temporaryFolder } from "./helpers.ts";
import { serve } from "./server.ts";

const STORED = NAMES.map((name) => `${name}.gz`);

function remote(url: string, timeout = 5000) {
  return fromWeb({ url, sum: ["sha256", golden.deb], size: 2536, timeout });
}

describe("bench data fashion-mnist", { timeout: 30_000 }, () => {
  it("takes the four files out of the package a mirror sends, and keeps them the next time", async () => {
    const folder = await temporaryFolder();
    const stderr = memory();
    const packages = [remote(await serve(null), 100), remote(await serve(await readFile(DEB)))];
    const first = await fetchFrom(packages, folder, createProgress(stderr));
    const directory = join(folder, "fashion-mnist");
    expect(first).toEqual({ directory, kept: [], written: NAMES, source: packages[1]!.name });
    expect(stderr.text()).toMatch(/not from http:.*: no answer for 0\.1 s/);
    expect((await readdir(directory)).sort()).toEqual([...STORED].sort());
    for (const name of NAMES) {
      expect(gunzipSync(await readFile(join(directory, `${name}.gz`))).length).toBe(golden[name].bytes);
    }
    const again = await fetchFrom([], folder, SILENT);
    expect(again).toEqual({ directory, kept: NAMES, written: [], source: null });
  });

  it("replaces a wrong plain file, which would be read first, where the data set already lies", async () => {
    const folder = await temporaryFolder();
    const torchvision = join(folder, "FashionMNIST", "raw");
    await mkdir(torchvision, { recursive: true });
    await writeFile(join(torchvision, NAMES[2]!), "wrong");
    const stderr = memory();
    const fetched = await fetchTiny(folder, createProgress(stderr));
    expect(fetched).toMatchObject({ directory: torchvision, written: NAMES, source: DEB });
    expect(stderr.text()).toMatch(/t10k-images-idx3-ubyte is not the official file: replaced/);
    expect((await readdir(torchvision)).sort()).toEqual([...STORED].sort());
  });

  it("does not take another data set in the folder for its own", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, NAMES[0]!), "MNIST");
    expect((await fetchTiny(folder, SILENT)).directory).toBe(join(folder, "fashion-mnist"));
    expect(await readFile(join(folder, NAMES[0]!), "utf8")).toBe("MNIST");
  });

  it("refuses damaged, truncated and foreign packages and leaves nothing behind", async () => {
    const folder = await temporaryFolder();
    const good = await readFile(DEB);
    const bad = join(folder, "bad.deb");
    const refuse = async (bytes: Uint8Array, message: RegExp) => {
      await writeFile(bad, bytes);
      await expect(fetchTiny(folder, SILENT, { archive: bad })).rejects.toThrow(message);
      expect(await readdir(join(folder, "fashion-mnist"))).toEqual([]);
    };
    await refuse(new Uint8Array(0), /bad\.deb must be a whole dataset-fashion-mnist_.*no Debian package/);
    await refuse(good.subarray(0, 2000), /truncated in data\.tar\.xz: 2000 of \d+ bytes/);
    await refuse(good.subarray(0, 400), /truncated in control\.tar\.xz/);
    await refuse(good.subarray(0, 8), /no data\.tar\.xz in it/);
    await refuse(good.with(66, 0x41), /damaged header at byte 8/);
    const name = good.indexOf("data.tar.xz");
    await refuse(
      good.with(name + 9, "g".charCodeAt(0)),
      /no data\.tar\.xz in it, only debian-binary, control\.tar\.xz, data/,
    );
    const random = generator(5);
    for (let round = 0; round < 40; round++) {
      const at = name + 60 + random.integer(good.length - name - 72);
      await refuse(good.with(at, good[at]! ^ (1 + random.integer(255))), /bad\.deb must be a whole/);
    }
    await expect(fetchTiny(folder, SILENT, { archive: join(folder, "none") })).rejects.toThrow(
      /readable file; got .*ENOENT/,
    );
  });

  it("names every mirror that failed", async () => {
    const folder = await temporaryFolder();
    const body = await readFile(DEB);
    const packages = [remote(await serve(body.with(900, body[900]! ^ 1))), remote("http://127.0.0.1:1/")];
    await expect(fetchFrom(packages, folder, SILENT)).rejects.toThrow(
      /Fashion-MNIST must come from http.* or http.*must have sha256 .* \| http.*--archive/,
    );
  });
});
