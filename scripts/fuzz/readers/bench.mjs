import { createHash } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { at, bytesOf, from, throughFile } from "./places.mjs";

const require = createRequire(at("apps/bench/package.json"));

/** The readers of the bench: data sets as they are fetched and stored, results and runs. */
export async function targets(folder) {
  const bench = (path) => from(`apps/bench/src/${path}.ts`);
  const { CIFAR10, CIFAR100, parseCifar } = await bench("data/cifar");
  const { parseIdx } = await bench("data/idx");
  const { storedFile } = await bench("data/stored");
  const { unpackDeb } = await bench("data/deb");
  const { unpackTar } = await bench("data/fetch");
  const { unpackWheel } = await bench("data/smollm2");
  const { recordsFromSheet } = await bench("data/sheets");
  const record = (labels) => Buffer.concat([Buffer.from(labels), Buffer.alloc(3072, 7)]);
  const idx = (numbers, content) => Buffer.concat([...numbers.map(bigEndian), content]);
  const unpacked = join(folder, "unpacked");
  await mkdir(unpacked);
  return [
    {
      name: "bench: CIFAR records",
      seeds: [Buffer.concat([record([3]), record([9])]), record([19, 99])],
      read: (bytes) => {
        parseCifar("fuzz", bytes, bytes.length % 3073 === 0 ? CIFAR10 : CIFAR100);
      },
    },
    {
      name: "bench: idx files",
      seeds: [idx([0x803, 2, 4, 4], Buffer.alloc(32, 5)), idx([0x801, 2], Buffer.from([1, 9]))],
      read: (bytes) => {
        const labels = idx([0x801, 2], Buffer.from([1, 9]));
        const images = idx([0x803, 2, 4, 4], Buffer.alloc(32, 5));
        const isLabels = bytes[3] === 1;
        parseIdx(
          { source: "images", bytes: isLabels ? images : bytes },
          { source: "labels", bytes: isLabels ? bytes : labels },
          10,
        );
      },
    },
    {
      name: "bench: gzip files",
      seeds: [gzipSync(Buffer.alloc(2000, 3)), gzipSync(bytesOf("package.json"))],
      read: (bytes) => storedFile("fuzz.gz", bytes),
    },
    {
      name: "bench: Debian packages",
      unpacks: true,
      seeds: [bytesOf("apps/bench/fixtures/fashion-tiny.deb")],
      read: throughFile(folder, "fuzz.deb", (path) => unpackDeb(path, join(folder, "data.tar"))),
    },
    {
      name: "bench: tar archives",
      unpacks: true,
      seeds: [await tarOf(folder)],
      read: throughFile(folder, "fuzz.tar", (path) => unpackTar(path, unpacked, ["a.txt", "b.txt"], 1)),
    },
    {
      name: "bench: zip archives",
      unpacks: true,
      seeds: [zipOf()],
      read: (bytes) => unpackWheel("fuzz.whl", bytes, ["a.txt"]),
    },
    {
      name: "bench: PNG sheets",
      unpacks: true,
      seeds: [sheetOf()],
      read: (bytes) => {
        recordsFromSheet(bytes, [1, 2], 0);
      },
    },
    ...(await pictures(folder, bench)),
    ...(await kept(folder, bench)),
  ];
}

function bigEndian(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

async function tarOf(folder) {
  const { create } = require("tar");
  const inside = join(folder, "package");
  await mkdir(inside);
  await writeFile(join(inside, "a.txt"), "some text\n".repeat(20));
  await writeFile(join(inside, "b.txt"), "more");
  await create({ file: join(folder, "made.tar"), cwd: folder }, ["package"]);
  return readFile(join(folder, "made.tar"));
}

function zipOf() {
  const { zipSync } = require("fflate");
  return Buffer.from(zipSync({ "package/a.txt": Buffer.from("some text\n".repeat(20)), "b.txt": Buffer.from("more") }));
}

function sheetOf() {
  const { PNG } = require("pngjs");
  return PNG.sync.write(new PNG({ width: 1024, height: 2 }));
}

/** Frames and their labels as a folder of pictures has them. */
async function pictures(folder, bench) {
  const { CAMVID, readColours, readLabels } = await bench("data/segmentation");
  const loaded = require("sharp");
  const sharp = loaded.default ?? loaded;
  const raw = (channels) => ({ raw: { width: 16, height: 12, channels } });
  const colours = (format) =>
    sharp(Buffer.alloc(16 * 12 * 3, 90), raw(3))
      .toFormat(format)
      .toBuffer();
  const labels = await sharp(Buffer.alloc(16 * 12, 4), raw(1))
    .toColourspace("b-w")
    .png({ compressionLevel: 9 })
    .toBuffer();
  return [
    {
      name: "bench: frames, PNG and JPEG",
      seeds: [await colours("png"), await colours("jpeg")],
      read: throughFile(folder, "frame.png", readColours),
    },
    {
      name: "bench: labels, PNG",
      seeds: [labels],
      read: throughFile(folder, "labels.png", (path) => readLabels(path, CAMVID)),
    },
  ];
}

/** Results, and what a folder of a run holds. */
async function kept(folder, bench) {
  const { readRun, renderReport } = await bench("commands/report");
  const { EXPERIMENTS } = await bench("experiments/index");
  const { readResult } = await bench("experiments/result");
  const { earlierConfig, earlierEnvironment, readStep, refuseOtherConfig } = await bench("runs/earlier-run");
  const { openRun } = await bench("runs/run");
  const { SILENT } = await bench("terminal/progress");
  const result = JSON.parse(bytesOf("docs/results/staged-overhead.json").toString());
  const config = { experiment: "fuzz", seed: 1 };
  const run = join(folder, "kept-run");
  const made = await openRun(run, config, SILENT);
  await made.step("one", async () => ({ a: Float32Array.of(1, 2), b: [1, Number.NaN, "x"], c: Int32Array.of(3) }));
  const environment = await readFile(join(run, "environment.json"));
  const step = await readFile(join(run, "steps/one.step"));
  const hash = createHash("sha256").update(JSON.stringify(config)).digest("hex");
  return [
    {
      name: "bench: result.json, up to its page",
      seeds: [Buffer.from(JSON.stringify({ ...result, rows: result.rows?.slice(0, 4) }))],
      read: throughFile(folder, "result.json", async (path) => {
        const read = await readRun(path);
        readResult(read, EXPERIMENTS, path);
        renderReport([read]);
      }),
    },
    {
      name: "bench: .step of a run",
      seeds: [step],
      read: throughFile(join(run, "steps"), "one.step", (path) => readStep(path, hash)),
    },
    {
      name: "bench: config.json of a run",
      seeds: [await readFile(join(run, "config.json"))],
      read: throughFile(run, "config.json", async () => refuseOtherConfig(run, await earlierConfig(run), config)),
    },
    {
      name: "bench: environment.json of a run",
      seeds: [environment],
      read: throughFile(run, "environment.json", () => earlierEnvironment(run)),
      // What another version wrote is as good as none: nothing is refused.
      accepts: true,
    },
  ];
}
