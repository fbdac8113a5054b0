import { generator } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { augmentedPictures } from "../src/data/augment.ts";
import { oneBatch } from "../src/data/batches.ts";
import { CIFAR10, parseCifar } from "../src/data/cifar.ts";
import { records } from "./helpers.ts";

const pictures = parseCifar("made", records(20), CIFAR10);
const rows = (n: number) => Int32Array.from({ length: n }, (_, index) => (index * 7) % pictures.n);

/** The picture padded by 4 pixels of value 0 on every side, cut and mirrored the slow way, then normalised. */
function slow(row: number, down: number, right: number, mirrored: boolean): Float32Array {
  const side = 40;
  const padded = new Uint8Array(3 * side * side);
  const source = pictures.pixels.subarray(row * 3072, (row + 1) * 3072);
  for (let at = 0; at < 3072; at++) {
    const [c, y, x] = [Math.floor(at / 1024), Math.floor(at / 32) % 32, at % 32];
    padded[c * side * side + (y + 4) * side + x + 4] = source[at]!;
  }
  const cut = new Uint8Array(3072);
  for (let at = 0; at < 3072; at++) {
    const [c, y, x] = [Math.floor(at / 1024), Math.floor(at / 32) % 32, at % 32];
    cut[at] = padded[c * side * side + (y + 4 + down) * side + (mirrored ? 31 - x : x) + 4 + right]!;
  }
  return oneBatch({ n: 1, shape: [3, 32, 32], pixels: cut, labels: new Int32Array(1) }).x.data;
}

describe("augmentedPictures", () => {
  it("is a crop of the padded picture, mirrored half of the time; every offset comes up", () => {
    const n = 600;
    const { x, y } = augmentedPictures(pictures).batch(rows(n), generator(1));
    const random = generator(1);
    const [seen, mirrors] = [new Set<string>(), { count: 0 }];
    for (const [at, row] of rows(n).entries()) {
      const [down, right] = [random.integer(9) - 4, random.integer(9) - 4];
      const mirrored = random.integer(2) === 1;
      seen.add(`${down} ${right}`);
      if (mirrored) mirrors.count++;
      if (at < 60) expect(x.data.subarray(at * 3072, (at + 1) * 3072)).toEqual(slow(row, down, right, mirrored));
      expect(Number(y.data[at])).toBe(row % 10);
    }
    expect(seen.size).toBe(81);
    // 600 fair coins: 300 ± 5 standard deviations.
    expect(Math.abs(mirrors.count - n / 2)).toBeLessThan(62);
    expect([x.shape, y.shape, y.dtype]).toEqual([[n, 3, 32, 32], [n], "int64"]);
  });

  it("depends on nothing but the rows and the generator", () => {
    const data = augmentedPictures(pictures);
    const first = data.batch(rows(8), generator(3));
    data.batch(rows(8), generator(4));
    expect(data.batch(rows(8), generator(3))).toEqual(first);
    expect(data.batch(rows(8), generator(4)).x.data).not.toEqual(first.x.data);
  });

  it("refuses a picture that is not there", () => {
    expect(() => augmentedPictures(pictures).batch(Int32Array.of(0, 20), generator(1))).toThrow(
      "bench.augmentedPictures: every index must be 0 to 19; got 20",
    );
  });
});
