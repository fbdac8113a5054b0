import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { batches, oneBatch, pictureDataUri } from "../src/data/batches.ts";
import { CIFAR10, parseCifar } from "../src/data/cifar.ts";
import { dataDirectory, findDataset, openDataset } from "../src/data/directory.ts";
import { slicePictures } from "../src/data/pictures.ts";
import { cifar10, cifar100 } from "../src/data/sets/index.ts";
import { records, temporaryFolder } from "./helpers.ts";

const golden = JSON.parse(await readFile(new URL("../fixtures/networks.json", import.meta.url), "utf8"));

describe("cifar10", () => {
  it("reads the repository's subset without a data folder and says so", async () => {
    const data = await openDataset(cifar10, undefined);
    expect(data).toMatchObject({ name: "CIFAR-10 subset", complete: false });
    expect(data.about).toContain("5,000 training and 2,500 test pictures");
    expect([data.train.n, data.test.n]).toEqual([5000, 2500]);
    const subset = cifar10.editions[1]!;
    expect(Object.fromEntries(data.files.map(({ name, sha256 }) => [name, sha256]))).toEqual({
      ...subset.train,
      ...subset.test,
    });
    expect(data.classNames[data.test.labels[0]!]).toBe("cat");
    expect([...data.test.labels.subarray(0, 64)]).toEqual(golden.labels);
  });

  it.each(["", "cifar10", "cifar-10-batches-bin"])(
    "finds the six official files in DIR/%s, plain or .gz",
    async (below) => {
      const directory = await temporaryFolder();
      const place = join(directory, below);
      await mkdir(place, { recursive: true });
      for (const batch of [1, 2, 3, 4]) await writeFile(join(place, `data_batch_${batch}.bin`), "");
      await writeFile(join(place, "data_batch_5.bin.gz"), "");
      await expect(findDataset(cifar10, directory)).rejects.toThrow(
        /must hold all 6 files of CIFAR-10; got only 5; missing: test_batch.bin/,
      );
      await writeFile(join(place, "test_batch.bin"), "");
      const found = (await findDataset(cifar10, directory))!;
      expect(found.edition).toMatchObject({ name: "CIFAR-10", complete: true });
      expect(found.paths["data_batch_5.bin"]).toBe(join(place, "data_batch_5.bin.gz"));
      expect(found.paths["test_batch.bin"]).toBe(join(place, "test_batch.bin"));
    },
  );

  it("uses the subset when the folder has none of the files", async () => {
    expect((await findDataset(cifar10, await temporaryFolder()))!.edition.name).toBe("CIFAR-10 subset");
  });

  it("refuses well-formed files with another sum", async () => {
    const directory = await temporaryFolder();
    for (const name of ["train_5000.bin", "test_2500.bin"]) await writeFile(join(directory, name), records(3));
    await expect(openDataset(cifar10, directory)).rejects.toThrow(
      /train_5000\.bin must be the CIFAR-10 subset file with sha256 25c9.*; got sha256/,
    );
  });
});

describe("cifar100", () => {
  it("reads the official names, and says what is missing", async () => {
    const directory = await temporaryFolder();
    await expect(openDataset(cifar100, directory)).rejects.toThrow(
      /CIFAR-100 must be in the data folder .* got none of them in/,
    );
    await expect(openDataset(cifar100, undefined)).rejects.toThrow(/got no data folder/);
    const bytes = new Uint8Array(3074).with(0, 4).with(1, 30);
    await writeFile(join(directory, "train.bin"), bytes);
    await expect(openDataset(cifar100, directory)).rejects.toThrow(/missing: test.bin/);
    await writeFile(join(directory, "test.bin.gz"), gzipSync(bytes));
    const data = await openDataset(cifar100, directory);
    expect(data).toMatchObject({ name: "CIFAR-100", complete: true });
    expect(data.classNames[data.test.labels[0]!]).toBe("dolphin");
    expect(new Set(data.classNames).size).toBe(100);
  });
});

describe("dataDirectory", () => {
  it("must exist, and names where it came from", async () => {
    const folder = await temporaryFolder();
    expect(await dataDirectory(folder)).toBe(folder);
    await expect(dataDirectory(join(folder, "no"))).rejects.toThrow(
      /--data must name a folder; got .*no, which does not exist/,
    );
    process.env.EXITKIT_DATA = join(folder, "none");
    try {
      await expect(dataDirectory(undefined)).rejects.toThrow(/EXITKIT_DATA must name a folder/);
    } finally {
      delete process.env.EXITKIT_DATA;
    }
  });
});

describe("batches", () => {
  it("are bit-equal to PyTorch's normalisation", async () => {
    const { test } = await openDataset(cifar10, undefined);
    const { x } = oneBatch(slicePictures(test, 0, 64));
    expect(x.shape).toEqual([64, 3, 32, 32]);
    const bytes = new Uint8Array(x.data.buffer, x.data.byteOffset, x.data.byteLength);
    expect(createHash("sha256").update(bytes).digest("hex")).toBe(golden.inputSha256);
  });

  it("cover all pictures in order, the last one smaller, in recycled buffers", async () => {
    const pictures = parseCifar("x", records(10), CIFAR10);
    const whole = oneBatch(pictures);
    const sizes: number[] = [];
    const buffers = new Set<unknown>();
    let at = 0;
    for await (const { x, y } of batches(pictures, 4)) {
      sizes.push(y.length);
      buffers.add(x.data.buffer);
      expect(x.data).toEqual(whole.x.data.subarray(at * 3072, (at + y.length) * 3072));
      expect(y).toEqual(pictures.labels.subarray(at, at + y.length));
      at += y.length;
    }
    expect(sizes).toEqual([4, 4, 2]);
    expect(buffers.size).toBe(1);
    expect(() => batches(pictures, 0)).toThrow(/size must be a whole number ≥ 1; got 0/);
  });

  it("pictures become the PNG they show", () => {
    const pictures = parseCifar("x", records(2), CIFAR10);
    const png = PNG.sync.read(Buffer.from(pictureDataUri(pictures, 1).split(",")[1]!, "base64"));
    expect([png.width, png.height]).toEqual([32, 32]);
    // Pixel 5 of picture 1: position 5 in each of the three planes of 1,024, value (1 + position) mod 256.
    expect([...png.data.subarray(20, 24)]).toEqual([6, 6, 6, 255]);
    expect(png.data[4 * 300]).toBe(301 % 256);
  });
});
