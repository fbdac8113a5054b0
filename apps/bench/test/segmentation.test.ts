import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileProgram, openDevice, readSafetensorsFile, spec, tensor, trace, type Value } from "@exitkit/core-gpu";
import { PNG } from "pngjs";
import sharp from "sharp";
import { afterAll, describe, expect, it } from "vitest";
import { ade20kScheme, findAde20k } from "../src/data/ade20k.ts";
import { camvid } from "../src/data/camvid.ts";
import {
  CAMVID,
  CITYSCAPES,
  findFrames,
  normalisedFrame,
  readColours,
  readFrames,
  readLabels,
} from "../src/data/segmentation.ts";
import { macsAt } from "../src/experiments/cbt/claims.ts";
import { rankCorrelation } from "../src/experiments/cbt/paper.ts";
import type { CbtRow } from "../src/experiments/cbt/schema.ts";
import { NORMALISATION, SIZE } from "../src/experiments/cbt/subject.ts";
import { espnet } from "../src/zoo/espnet.ts";

const folder = mkdtempSync(join(tmpdir(), "exitkit-segmentation-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

/** A grey PNG of 8 bits with these values. */
function grey(name: string, width: number, values: readonly number[]): string {
  const png = new PNG({ width, height: values.length / width, colorType: 0, bitDepth: 8 });
  values.forEach((value, i) => {
    png.data.fill(value, 4 * i, 4 * i + 3);
    png.data[4 * i + 3] = 255;
  });
  writeFileSync(at(name), PNG.sync.write(png, { colorType: 0, bitDepth: 8 }));
  return at(name);
}

describe("label files", () => {
  it("come back as their ids mean", async () => {
    const { shape, data } = await readLabels(grey("ids.png", 3, [0, 7, 8, 11, 33, 0]), CITYSCAPES);
    expect(shape).toEqual([2, 3]);
    expect([...data]).toEqual([255, 0, 1, 2, 18, 255]);
    expect([...(await readLabels(grey("camvid.png", 2, [0, 11]), CAMVID)).data]).toEqual([0, 255]);
  });

  it("with an id outside the table are refused, naming file, value and place", async () => {
    await expect(readLabels(grey("out.png", 2, [0, 0, 0, 12]), CAMVID)).rejects.toThrow(
      /out\.png must hold the ids 0 to 11 of its data set; got 12 at row 1, column 1/,
    );
    // −1 stored as 255.
    await expect(readLabels(grey("minus.png", 1, [255]), CITYSCAPES)).rejects.toThrow(/got 255 at row 0, column 0/);
  });

  it.each<[string, () => Promise<string>, RegExp]>([
    [
      "a palette",
      async () => {
        await sharp(new Uint8Array([0, 0, 0, 255, 0, 0, 0, 0, 255, 9, 9, 9]), {
          raw: { width: 2, height: 2, channels: 3 },
        })
          .png({ palette: true })
          .toFile(at("palette.png"));
        return at("palette.png");
      },
      /palette\.png must be a grey PNG of 8 bits, one channel; got png: a palette/,
    ],
    [
      "16 bits",
      async () => {
        const png = new PNG({ width: 1, height: 1, colorType: 0, bitDepth: 16 });
        writeFileSync(at("sixteen.png"), PNG.sync.write(png, { colorType: 0, bitDepth: 16 }));
        return at("sixteen.png");
      },
      /sixteen\.png must be a grey PNG of 8 bits.*ushort/,
    ],
    [
      "colours",
      async () => {
        await sharp({ create: { width: 1, height: 1, channels: 3, background: "red" } })
          .png()
          .toFile(at("colours.png"));
        return at("colours.png");
      },
      /got png: 3 channels/,
    ],
    [
      "JPEG",
      async () => {
        await sharp({ create: { width: 8, height: 8, channels: 3, background: "white" } })
          .greyscale()
          .jpeg()
          .toFile(at("labels.jpg"));
        return at("labels.jpg");
      },
      /got jpeg/,
    ],
    ["nothing", async () => at("none.png"), /none\.png must be a picture that can be read/],
    [
      "half a file",
      async () => {
        const whole = readFileSync(
          grey(
            "whole.png",
            64,
            Array.from({ length: 4096 }, (_, i) => (i * 7) % 11),
          ),
        );
        writeFileSync(at("half.png"), whole.subarray(0, whole.length - 300));
        return at("half.png");
      },
      /half\.png must be a whole picture/,
    ],
  ])("of %s are refused", async (_, make, message) => {
    await expect(readLabels(await make(), CAMVID)).rejects.toThrow(message);
  });
});

describe("frames", () => {
  it("are normalised as the reference does: BGR, (v − mean) ÷ deviation ÷ 255", async () => {
    const colours = tensor("uint8", [1, 2, 3], [10, 20, 30, 200, 100, 50]);
    const { shape, data } = normalisedFrame(colours, NORMALISATION);
    expect(shape).toEqual([1, 3, 1, 2]);
    const reference = (v: number, c: number) => (v - [110.33, 108.41, 105.03][c]!) / [72.13, 72.69, 69.9][c]! / 255;
    [
      reference(30, 0),
      reference(50, 0),
      reference(20, 1),
      reference(100, 1),
      reference(10, 2),
      reference(200, 2),
    ].forEach((value, i) => {
      expect(data[i]).toBeCloseTo(value, 8);
    });
  });

  it("of the repository are found, with their labels", async () => {
    const { train, test } = await camvid(undefined, false, [1, 1]);
    expect([train.length, test.length]).toEqual([12, 8]);
    expect(new Set(test.map(({ sequence }) => sequence))).toEqual(new Set(["0001TP", "Seq05VD"]));
    for await (const { x, labels } of readFrames(test.slice(0, 1), CAMVID, NORMALISATION, SIZE)) {
      expect([x.shape, labels.shape]).toEqual([
        [1, 3, 360, 480],
        [1, 360, 480],
      ]);
      expect(labels.data.every((label) => label < 11 || label === 255)).toBe(true);
    }
  });

  it("a truncated JPEG, a frame of another size and a frame without labels are refused, naming the file", async () => {
    const { test } = await camvid(undefined, false, [1, 1]);
    const whole = readFileSync(test[0]!.image);
    writeFileSync(at("cut.jpg"), whole.subarray(0, Math.floor(whole.length / 2)));
    await expect(readColours(at("cut.jpg"))).rejects.toThrow(/cut\.jpg must be a whole picture/);
    const small = grey("small.png", 2, [0, 0]);
    const pair = { ...test[0]!, labels: small };
    await expect(readFrames([pair], CAMVID, NORMALISATION, SIZE).next()).rejects.toThrow(
      /small\.png must be 480 × 360 pixels; got 2 × 1/,
    );
    mkdirSync(at("set/leftImg8bit/val/a"), { recursive: true });
    writeFileSync(at("set/leftImg8bit/val/a/x_leftImg8bit.png"), "");
    await expect(findFrames(at("set"), "val")).rejects.toThrow(
      /x_leftImg8bit\.png must have labels; got no .*x_gtFine_labelIds\.png/,
    );
    await expect(findFrames(at("set"), "test")).rejects.toThrow(/must be a folder; got ENOENT/);
  });
});

it("ESPNet gives PyTorch's logits, at a size that 32 does not divide", async () => {
  const golden = JSON.parse(readFileSync(new URL("../fixtures/espnet.json", import.meta.url), "utf8")) as {
    logits: number[];
  };
  const path = new URL("../assets/espnet/espnet_p_2_q_8_camvid.safetensors", import.meta.url).pathname;
  const network = espnet((await readSafetensorsFile(path)).tensors, [40, 56]);
  const device = await openDevice("cpu");
  const program = trace(
    (inputs) => {
      let features: Record<string, Value> = { frame: inputs.frame };
      for (const { compute } of network.stages) features = { ...features, ...compute(features, (after) => after) };
      return { logits: features.logits! };
    },
    { frame: spec("float32", [1, 3, 40, 56]) },
  );
  const session = await compileProgram(device, program);
  const x = tensor(
    "float32",
    [1, 3, 40, 56],
    Array.from({ length: 3 * 40 * 56 }, (_, i) => 0.006 * Math.sin(0.37 * i ** 1.1)),
  );
  const { logits } = await session.run({ frame: x });
  const data = logits!.data as Float32Array;
  golden.logits.forEach((value, i) => {
    expect(data[37 * i]).toBeCloseTo(value, 3);
  });
  expect(logits!.shape).toEqual([1, 11, 40, 56]);
  await device.close();
  expect(() => espnet({}, [41, 56])).toThrow(/divisible by 8; got 41 × 56/);
}, 60_000);

it("rank correlation and points between single thresholds, by hand", () => {
  expect(rankCorrelation([1, 2, 3, 4], [10, 20, 40, 30])).toBeCloseTo(0.8, 12);
  expect(rankCorrelation([1, 1, 2], [3, 3, 1])).toBeCloseTo(-1, 12);
  const rows = [
    [0.5, 0.6],
    [0.6, 0.8],
  ].map(([miou, macsFraction]) => ({ miou, macsFraction }) as CbtRow);
  expect(macsAt(rows, 0.55)).toBeCloseTo(0.7, 12);
  expect([macsAt(rows, 0.7), macsAt(rows, 0.4)]).toEqual([null, null]);
});

describe("ADE20K's layout", () => {
  const folder = at("ade");
  const put = async () => {
    for (const part of ["images", "annotations"]) mkdirSync(join(folder, part, "validation"), { recursive: true });
    writeFileSync(
      join(folder, "objectInfo150.txt"),
      "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t.1\t1\t1\t1\twall, walls\n2\t.1\t1\t1\t1\tsky\n",
    );
    const image = join(folder, "images", "validation", "ADE_val_1.jpg");
    await sharp(new Uint8Array(4 * 2 * 3).fill(90), { raw: { width: 4, height: 2, channels: 3 } })
      .jpeg()
      .toFile(image);
    const labels = readFileSync(grey("ade.png", 4, [0, 0, 2, 2, 1, 1, 2, 2]));
    writeFileSync(join(folder, "annotations", "validation", "ADE_val_1.png"), labels);
  };

  it("is read: names from its own list, id 0 ignored; frames stretched, labels never mixed", async () => {
    await put();
    const scheme = await ade20kScheme(folder);
    expect(scheme.classNames).toEqual(["wall", "sky"]);
    const pairs = await findAde20k(folder, "validation");
    expect(pairs.map(({ name }) => name)).toEqual(["ADE_val_1"]);
    const read = async (size: [number, number], resizing?: "stretched") => {
      for await (const frame of readFrames(pairs, scheme, NORMALISATION, size, resizing)) return frame;
      throw new Error("nothing was read");
    };
    expect([...(await read([2, 4])).labels.data]).toEqual([255, 255, 1, 1, 0, 0, 1, 1]);
    await expect(read([2, 2])).rejects.toThrow(/ADE_val_1\.jpg must be 2 × 2 pixels; got 4 × 2/);
    const { x, labels } = await read([4, 2], "stretched");
    expect([x.shape, labels.shape]).toEqual([
      [1, 3, 4, 2],
      [1, 4, 2],
    ]);
    expect([...labels.data]).toEqual([255, 1, 255, 1, 0, 1, 0, 1]);
  });

  it("names what is missing", async () => {
    await put();
    await expect(findAde20k(folder, "training")).rejects.toThrow(/annotations.training must be a folder; got ENOENT/);
    await expect(ade20kScheme(at("none"))).rejects.toThrow(/objectInfo150\.txt must be a file; got ENOENT/);
    rmSync(join(folder, "annotations", "validation", "ADE_val_1.png"));
    await expect(findAde20k(folder, "validation")).rejects.toThrow(/ADE_val_1\.jpg must have labels/);
  });
});
