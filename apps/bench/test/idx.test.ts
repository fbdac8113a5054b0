import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { generator, InputError } from "@exitkit/core-gpu";
import { PNG } from "pngjs";
import { describe, expect, it } from "vitest";
import { augmentedPictures } from "../src/data/augment.ts";
import { batches, oneBatch, pictureDataUri } from "../src/data/batches.ts";
import { openDataset } from "../src/data/directory.ts";
import { parseIdx } from "../src/data/idx.ts";
import { concatPictures, slicePictures } from "../src/data/pictures.ts";
import { fashionMnist, kmnist, mnist } from "../src/data/sets/index.ts";
import { SILENT } from "../src/terminal/progress.ts";
import { fetchTiny, golden, NAMES, TINY } from "./fashion.ts";
import { temporaryFolder } from "./helpers.ts";

/** The small data set as bytes. */
async function tiny(): Promise<{ folder: string; images: Uint8Array; labels: Uint8Array }> {
  const { directory } = await fetchTiny(await temporaryFolder(), SILENT);
  const read = async (name: string) => gunzipSync(await readFile(join(directory, `${name}.gz`)));
  return { folder: directory, images: await read(NAMES[0]!), labels: await read(NAMES[1]!) };
}

const named = (source: string, bytes: Uint8Array) => ({ source, bytes });

describe("parseIdx", () => {
  it("reads the pictures and labels that NumPy wrote", async () => {
    const { images, labels } = await tiny();
    const pictures = parseIdx(named("i", images), named("l", labels), 10);
    expect([pictures.n, pictures.shape]).toEqual([12, [1, 28, 28]]);
    expect([...pictures.labels]).toEqual(golden.train.labels);
    const sums = golden.train.rowSums.map((_: number, row: number) =>
      slicePictures(pictures, row, row + 1).pixels.reduce((sum, value) => sum + value, 0),
    );
    expect(sums).toEqual(golden.train.rowSums);
    expect(pictures.pixels[11 * 784 + 2 * 28 + 27]).toBe(golden.train.pixel);
  });

  it("says what is wrong", async () => {
    const { images, labels } = await tiny();
    const parse = (i: Uint8Array, l: Uint8Array, classes = 10) => parseIdx(named("I", i), named("L", l), classes);
    for (const [i, l, message] of [
      [labels, labels, /I must be idx images, which begin with the number 2,051; got 2,049/],
      [images, images, /L must be idx labels, which begin with the number 2,049; got 2,051/],
      [images.subarray(0, 3), labels, /got 3 bytes/],
      [images.subarray(0, 15), labels, /I must hold 0 × 0 × 0 bytes after 16, and at least one; got 15 bytes/],
      [images.subarray(0, 9000), labels, /I must hold 12 × 28 × 28 bytes after 16, and at least one; got 9,000 bytes/],
      [images, Uint8Array.from([...labels, 0]), /L must hold 12 bytes after 8, and at least one; got 21 bytes/],
      [
        images,
        labels.subarray(0, 19).with(7, 11),
        /L must hold a label for each of the 12 pictures of I; got 11 labels/,
      ],
      [images.subarray(0, 16).with(7, 0), labels, /I must hold 0 × 28 × 28 bytes after 16, and at least one/],
    ] as const) {
      expect(() => parse(i, l)).toThrow(message);
    }
    expect(() => parse(images, labels, 9)).toThrow(/L: every label must be 0 to 8; got 9 at 0/);
  });

  it("gives pictures or an InputError for mutated headers", async () => {
    const { images, labels } = await tiny();
    const random = generator(3);
    let refused = 0;
    for (let round = 0; round < 400; round++) {
      const bytes = images.with(random.integer(16), random.integer(256));
      try {
        expect(parseIdx(named("i", bytes), named("l", labels), 10).n).toBe(12);
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(300);
  });
});

describe("pictures of one channel", () => {
  it("are normalised, varied and shown", async () => {
    const { images, labels } = await tiny();
    const pictures = parseIdx(named("i", images), named("l", labels), 10);
    const { normalisation } = fashionMnist;
    const { x } = oneBatch(pictures, normalisation);
    expect(x.shape).toEqual([12, 1, 28, 28]);
    expect(x.data[5]).toBeCloseTo((pictures.pixels[5]! / 255 - 0.286) / 0.353, 6);
    let at = 0;
    for await (const batch of batches(pictures, 5, normalisation)) {
      expect(batch.x.data).toEqual(x.data.subarray(at * 784, (at + batch.y.length) * 784));
      at += batch.y.length;
    }
    expect(() => oneBatch(pictures)).toThrow(/pictures of 1 channels need 1 means and deviations; got 3 and 3/);

    const plain = augmentedPictures(pictures, normalisation, { padding: 0, mirror: false });
    expect(plain.batch(Int32Array.of(3), generator(1)).x.data).toEqual(x.data.subarray(3 * 784, 4 * 784));
    const mirrored = augmentedPictures(pictures, normalisation, { padding: 0, mirror: true });
    const { x: many } = mirrored.batch(new Int32Array(64), generator(1));
    const left = Array.from({ length: 64 }, (_, row) => many.data[row * 784]);
    expect(new Set(left)).toEqual(new Set([x.data[0], x.data[27]]));

    const png = PNG.sync.read(Buffer.from(pictureDataUri(pictures, 11).split(",")[1]!, "base64"));
    const { pixel } = golden.train;
    expect([png.width, png.height]).toEqual([28, 28]);
    expect([...png.data.subarray(4 * 83, 4 * 84)]).toEqual([pixel, pixel, pixel, 255]);
  });

  it("are not put together with coloured ones", () => {
    const shape = [1, 1, 2] as const;
    const one = { n: 1, shape, pixels: Uint8Array.of(1, 2), labels: new Int32Array(1) };
    expect(concatPictures([one, one]).pixels).toEqual(Uint8Array.of(1, 2, 1, 2));
    expect(() => concatPictures([one, { ...one, shape: [2, 1, 1] }])).toThrow(
      /one shape.*got \[1, 1, 2\] and \[2, 1, 1\]/,
    );
    expect(() => concatPictures([])).toThrow(/at least one part; got none/);
  });
});

describe("data sets in MNIST's format", () => {
  it("say where they looked", async () => {
    const folder = await temporaryFolder();
    await expect(openDataset(fashionMnist, undefined)).rejects.toThrow(
      /Fashion-MNIST must be in the data folder \(train-images-idx3-ubyte, .* each plain or \.gz\); got no data folder\. Bring it with: bench data fashion-mnist/,
    );
    await expect(openDataset(mnist, folder)).rejects.toThrow(/none of them in .*\/mnist, .*\/MNIST\/raw, /);
    await mkdir(join(folder, "kmnist"));
    await writeFile(join(folder, "kmnist", "train-images-idx3-ubyte.gz"), "");
    await expect(openDataset(kmnist, folder)).rejects.toThrow(
      /all 4 files of KMNIST; got only 1; missing: train-labels/,
    );
  });

  it("tell the data sets, whose files have the same names, apart by their sums", async () => {
    const { folder } = await tiny();
    await expect(openDataset(fashionMnist, join(folder, ".."))).rejects.toThrow(
      /train-images-idx3-ubyte\.gz must be the Fashion-MNIST file with sha256 c59f.*bench data fashion-mnist/,
    );
    await expect(openDataset(mnist, folder)).rejects.toThrow(/must be the MNIST file with sha256 ba89/);
    await expect(openDataset(kmnist, folder)).rejects.toThrow(/must be the KMNIST file with sha256 5146/);
    await writeFile(join(folder, NAMES[0]!), "x");
    await expect(openDataset(mnist, folder)).rejects.toThrow(/must be idx images/);
  });

  it("read what belongs together, plain or gzip", async () => {
    const { folder, images } = await tiny();
    await writeFile(join(folder, NAMES[0]!), images);
    const parts = Object.entries(TINY);
    const [train, test] = [parts.slice(0, 2), parts.slice(2)].map((part) => Object.fromEntries(part));
    const set = { ...fashionMnist, editions: [{ name: "Tiny", complete: true, train: train!, test: test! }] };
    const data = await openDataset(set, folder);
    expect([data.train.n, data.test.n, data.classNames[data.test.labels[0]!]]).toEqual([12, 5, "pullover"]);
    expect(data.files.map(({ name, sha256 }) => ({ name, sha256 }))).toEqual(
      parts.map(([name, sha256]) => ({ name, sha256 })),
    );
    await writeFile(join(folder, `${NAMES[2]}.gz`), gzipSync(images));
    await expect(openDataset(set, folder)).rejects.toThrow(/label for each of the 12 pictures/);
  });
});
