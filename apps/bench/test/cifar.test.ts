import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { generator, InputError } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { CIFAR10, CIFAR100, type CifarLayout, parseCifar } from "../src/data/cifar.ts";
import { concatPictures, selectPictures, slicePictures } from "../src/data/pictures.ts";
import { readStored } from "../src/data/stored.ts";
import { records, temporaryFolder } from "./helpers.ts";

async function readCifar(path: string, layout: CifarLayout) {
  const { bytes, file } = await readStored(path);
  return { pictures: parseCifar(path, bytes, layout), file };
}

describe("files of CIFAR", () => {
  it("reads plain and gzip files alike", async () => {
    const folder = await temporaryFolder();
    const bytes = records(12);
    await writeFile(join(folder, "a.bin"), bytes);
    await writeFile(join(folder, "a.bin.gz"), gzipSync(bytes));
    const plain = await readCifar(join(folder, "a.bin"), CIFAR10);
    const packed = await readCifar(join(folder, "a.bin.gz"), CIFAR10);
    expect(packed).toEqual(plain);
    expect(plain.file.name).toBe("a.bin");
    expect(plain.pictures.n).toBe(12);
    expect([...plain.pictures.labels]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    expect([...plain.pictures.pixels.subarray(3072, 3076)]).toEqual([1, 2, 3, 4]);
  });

  it("reads the class of CIFAR-100 from the second byte", () => {
    const bytes = new Uint8Array(2 * 3074).fill(7);
    bytes.set([19, 99], 0);
    bytes.set([0, 3], 3074);
    const pictures = parseCifar("train.bin", bytes, CIFAR100);
    expect([...pictures.labels]).toEqual([99, 3]);
    expect(pictures.pixels.every((value) => value === 7)).toBe(true);
  });

  it.each([
    [
      "cut off",
      records(3).subarray(0, 5000),
      /x\.bin must hold a whole number .* 3,073 bytes; got 5,000 bytes = 1 records and 1927/,
    ],
    ["empty", new Uint8Array(0), /0 bytes = 0 records/],
    ["of CIFAR-100 layout", new Uint8Array(3074), /got 3,074 bytes = 1 records and 1 bytes/],
    ["with label 10", records(2).with(3073, 10), /every label must be 0 to 9; got 10 in record 1 \(byte 3073\)/],
  ])("refuses a file that is %s", (_, bytes, message) => {
    expect(() => parseCifar("x.bin", bytes, CIFAR10)).toThrow(message);
  });

  it("checks both labels of CIFAR-100", () => {
    const bytes = new Uint8Array(3074);
    expect(() => parseCifar("x", bytes.with(0, 20), CIFAR100)).toThrow(/coarse label must be 0 to 19; got 20/);
    expect(() => parseCifar("x", bytes.with(1, 100), CIFAR100)).toThrow(/fine label must be 0 to 99; got 100/);
  });

  it("names the file, what is wrong and what to do for bad gzip streams and missing files", async () => {
    const folder = await temporaryFolder();
    const file = join(folder, "a.bin.gz");
    const packed = gzipSync(records(4));
    await writeFile(file, packed.subarray(0, packed.length - 20));
    await expect(readCifar(file, CIFAR10)).rejects.toThrow(
      /a\.bin\.gz must be a whole gzip stream; got a truncated one .* Fetch/,
    );
    await writeFile(file, packed.with(packed.length - 5, packed.at(-5)! ^ 1));
    await expect(readCifar(file, CIFAR10)).rejects.toThrow(/a damaged one/);
    await writeFile(file, records(1));
    await expect(readCifar(file, CIFAR10)).rejects.toThrow(/must be a gzip file, as its name says/);
    await expect(readCifar(join(folder, "no.bin"), CIFAR10)).rejects.toThrow(/no\.bin must be readable; got ENOENT/);
  });

  it("gives pictures or an InputError for 300 mutated files, never damaged pictures from a gzip", async () => {
    const random = generator(7);
    const file = join(await temporaryFolder(), "a.bin.gz");
    const original = gzipSync(records(4), { level: 9 });
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const bytes = Uint8Array.from(original);
      for (let change = 0; change <= random.integer(3); change++) {
        bytes[random.integer(bytes.length)] = random.integer(256);
      }
      const kept = random.uniform() < 0.3 ? random.integer(bytes.length + 1) : bytes.length;
      await writeFile(file, bytes.subarray(0, kept));
      try {
        const { pictures } = await readCifar(file, CIFAR10);
        expect(pictures).toEqual(parseCifar("original", gunzipSync(original), CIFAR10));
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        expect((error as Error).message).toContain(file);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(200);
  });
});

describe("pictures", () => {
  const pictures = parseCifar("x", records(10), CIFAR10);

  it("slice, select and concat agree", () => {
    expect(concatPictures([slicePictures(pictures, 0, 4), slicePictures(pictures, 4, 10)])).toEqual(pictures);
    const picked = selectPictures(pictures, [9, 0]);
    expect(picked.labels).toEqual(Int32Array.of(9, 0));
    expect(picked.pixels.subarray(0, 3072)).toEqual(slicePictures(pictures, 9, 10).pixels);
  });

  it("refuses rows that are not there", () => {
    expect(() => slicePictures(pictures, 4, 11)).toThrow(/0 ≤ from ≤ to ≤ 10; got 4 to 11/);
    expect(() => selectPictures(pictures, [-1])).toThrow(/got -1 to 0/);
  });
});
