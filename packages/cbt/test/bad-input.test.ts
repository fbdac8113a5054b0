import { InputError, ops, tensor, type Value } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import {
  accumulateClassProbabilities,
  type ClassProbabilities,
  classThresholds,
  countConfusion,
  donePixels,
  type ExitLogits,
  exitLogits,
  fitCarries,
  fitPixelExits,
  mergeClassProbabilities,
  openSegmenter,
  resizeLogits,
  type SegmentationExitNetwork,
  segmentationQuality,
  withCarries,
  withPixelExits,
} from "../src/index.ts";
import { frameOf, smallNetwork } from "./networks.ts";

const logits = tensor("float32", [1, 2, 1, 2]);
const labels = tensor("uint8", [1, 1, 2], [0, 1]);
const seen: ClassProbabilities = {
  classes: 2,
  masked: false,
  coordinates: "halfPixel",
  counts: [1, 0],
  sums: [[1, 0, 0, 0]],
};
const accumulate = (batch: Partial<ExitLogits>, options: object = { classes: 2 }) =>
  accumulateClassProbabilities([{ logits: [logits], labels, ...batch }], options as { classes: number });

it.each<[string, () => Promise<unknown>, RegExp]>([
  ["no frames", () => accumulateClassProbabilities([], { classes: 2 }), /at least one batch of frames; got none/],
  [
    "no stream",
    () => accumulateClassProbabilities(undefined as never, { classes: 2 }),
    /must be an iterable of batches; got undefined/,
  ],
  ["no options", () => accumulate({}, null as never), /"classes"/],
  ["unknown option", () => accumulate({}, { classes: 2, alpha: 1 }), /unknown option "alpha"/],
  ["no logits", () => accumulate({ logits: [] }), /the logits of one exit or more; got 0/],
  [
    "labelIds for trainIds",
    () => accumulate({ labels: tensor("uint8", [1, 1, 2], [0, 7]), source: "a/b_labelIds.png" }),
    /a\/b_labelIds\.png must hold classes 0 to 1 or the ignore label 255; got 7 at row 0, column 1 of frame 0/,
  ],
  ["−1", () => accumulate({ labels: tensor("int32", [1, 1, 2], [0, -1]) }), /got -1 at row 0, column 1/],
  [
    "labels of another rank",
    () => accumulate({ labels: tensor("uint8", [1, 2]) }),
    /uint8 or int32 tensor \[n, h, w\]; got uint8 \[1, 2\]/,
  ],
  ["float labels", () => accumulate({ labels: tensor("float32", [1, 1, 2]) as never }), /got float32 \[1, 1, 2\]/],
  [
    "another number of frames",
    () => accumulate({ labels: tensor("uint8", [2, 1, 2]) }),
    /equally many frames; got 1 and 2/,
  ],
  [
    "other classes",
    () => accumulate({ logits: [tensor("float32", [1, 3, 1, 2])] }),
    /logits of exit 0 must be float32 logits \[n, 2, h, w\]; got float32 \[1, 3, 1, 2\]/,
  ],
  [
    "NaN",
    () => accumulate({ logits: [tensor("float32", [1, 2, 1, 2], [0, 0, 0, Number.NaN])] }),
    /logits of exit 0 must be finite; got NaN for class 1 at row 0, column 1 of frame 0/,
  ],
])("accumulateClassProbabilities refuses %s", async (_, run, message) => {
  const error = await run().catch((caught: InputError) => caught as Error);
  expect(error).toBeInstanceOf(InputError);
  expect((error as Error).message).toMatch(message);
});

it("refuses a batch with another number of exits than the first", async () => {
  const two = { logits: [logits, logits], labels };
  await expect(accumulateClassProbabilities([two, { logits: [logits], labels }], { classes: 2 })).rejects.toThrow(
    /2 exits, as those before it; got 1/,
  );
});

it.each<[string, () => unknown, RegExp]>([
  [
    "alpha above beta",
    () => classThresholds(seen, { alpha: 0.9, beta: 0.8 }),
    /alpha must be at most beta; got alpha 0\.9, beta 0\.8/,
  ],
  ["alpha below 0", () => classThresholds(seen, { alpha: -0.1, beta: 0.8 }), /"alpha"/],
  ["beta above 1", () => classThresholds(seen, { alpha: 0.1, beta: 1.8 }), /"beta"/],
  [
    "an absent class by name",
    () => classThresholds(seen, { alpha: 0.9, beta: 0.9, absent: "error" }),
    /none of class 1/,
  ],
  ["no early exit", () => classThresholds(seen, { alpha: 0.9, beta: 0.9, lastExit: false }), /an early exit/],
  [
    "something else than probabilities",
    () => classThresholds({ classes: 2 } as never, { alpha: 0.9, beta: 0.9 }),
    /an object with classes/,
  ],
  ["nothing", () => classThresholds(undefined as never, { alpha: 0.9, beta: 0.9 }), /got undefined/],
  ["shards that differ", () => mergeClassProbabilities(seen, { ...seen, masked: true }), /not masked.*and.*, masked/],
  ["a size", () => resizeLogits(logits, [0, 2]), /size must be \[h, w\]/],
  ["no size", () => resizeLogits(logits, undefined as never), /size must be \[h, w\]/],
  ["no logits", () => resizeLogits(undefined as never, [1, 1]), /float32 logits \[n, k, h, w\]; got undefined/],
  ["thresholds of another class list", () => donePixels(logits, [0.5]), /thresholds must be 2 numbers.*got 1/],
  ["NaN thresholds", () => donePixels(logits, Number.NaN), /2 numbers/],
  ["no thresholds", () => donePixels(logits, undefined as never), /2 numbers.*undefined/],
  [
    "logits for probabilities",
    () => donePixels(tensor("float32", [1, 2, 1, 1], [3, -3]), 0.5),
    /in \[0, 1\]; got 3 at class 0, row 0, column 0/,
  ],
  [
    "answers of another size",
    () => countConfusion(labels, tensor("uint8", [1, 2, 2]), { classes: 2, source: "x.png" }),
    /the size of x\.png; got \[1, 2, 2\] for \[1, 1, 2\]/,
  ],
  [
    "an answer that is no class",
    () => countConfusion(labels, tensor("uint8", [1, 1, 2], [0, 9]), { classes: 2 }),
    /got 9 at pixel 1/,
  ],
  [
    "counts of other classes",
    () => countConfusion(labels, labels, { classes: 2, before: { classes: 3, counts: new Array(9).fill(0) } }),
    /before must have 2 classes; got 3/,
  ],
  ["no counts", () => segmentationQuality(undefined as never), /what countConfusion gives/],
])("refuses %s", (_, run, message) => {
  expect(run).toThrow(InputError);
  expect(run).toThrow(message);
});

describe("networks", () => {
  const small = smallNetwork();
  const open = (network: unknown, options: object = { thresholds: 0.5 }) =>
    openSegmenter(network as SegmentationExitNetwork, options as { thresholds: number });
  const frame = frameOf(1);

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ["no network", () => open(undefined), /network\.frame must be \[c, h, w\]; got undefined/],
    ["no classes", () => open({ ...small, classes: 1 }), /network\.classes.*got 1/],
    ["one stage", () => open({ ...small, stages: small.stages.slice(0, 1) }), /two stages .* or more; got 1 stages/],
    ["no heads", () => open({ ...small, heads: undefined }), /2 functions, one for each early stage; got undefined/],
    [
      "another tap",
      () => open({ ...small, stages: [{ ...small.stages[0]!, tap: "y" }, ...small.stages.slice(1)] }),
      /stage 0 must give its tap; got no "y" among frame, fine, x/,
    ],
    [
      "other classes",
      () => open({ ...small, classes: 4 }),
      /logits of exit 0 must be \[1, 4, h, w\]; got \[1, 5, 9, 11\]/,
    ],
    [
      "exits of different strides",
      () =>
        open({ ...small, heads: [small.heads[0]!, (x: Value) => ops.averagePool(small.heads[1]!(x), { kernel: 3 })] }),
      /exit 1 must lie on the grid \[9, 11\]; got a tap on \[9, 11\] and logits on \[3, 3\]/,
    ],
    ["no options", () => open(small, null as never), /"thresholds"/],
    ["an unknown option", () => open(small, { thresholds: 0.5, threshold: 1 }), /unknown option "threshold"/],
    [
      "shares of other exits",
      () => open(small, { thresholds: 0.5, wholeFrom: [1] }),
      /wholeFrom must be of 2 exits; got 1/,
    ],
    ["thresholds of other classes", () => open(small, { thresholds: [0.5, 0.5] }), /5 numbers.*got 2/],
    [
      "thresholds of other exits",
      () => open(small, { thresholds: [[0, 0, 0, 0, 0]] }),
      /thresholds must be of 2 exits; got 1/,
    ],
    [
      "frames of another size",
      async () => (await open(small)).segment(tensor("float32", [1, 3, 18, 21])),
      /frames must be float32 \[n, 3, 18, 22\]; got float32 \[1, 3, 18, 21\]/,
    ],
    ["no frames", async () => (await open(small)).segment(undefined as never), /got undefined/],
    [
      "NaN in a frame",
      async () =>
        (await open(small)).segment(
          tensor(
            "float32",
            [1, 3, 18, 22],
            frame.data.map((value, at) => (at === 7 ? Number.NaN : value)),
          ),
        ),
      /frames must be finite; got NaN in frame 0/,
    ],
    [
      "labels of another size than the frames",
      () => fitPixelExits(small, [{ x: frame, labels: tensor("uint8", [1, 9, 11]), source: "c.png" }]),
      /c\.png must be \[1, 18, 22\], of the frames' size; got \[1, 9, 11\]/,
    ],
    [
      "labels outside",
      () =>
        fitPixelExits(small, [
          { x: frame, labels: tensor("uint8", [1, 18, 22], new Uint8Array(396).fill(9)), source: "c.png" },
        ]),
      /c\.png must hold classes 0 to 4.*got 9/,
    ],
    [
      "only ignored labels",
      () => fitPixelExits(small, [{ x: frame, labels: tensor("uint8", [1, 18, 22], new Uint8Array(396).fill(255)) }]),
      /some pixel must have a label/,
    ],
    ["no frames to fit", () => fitPixelExits(small, []), /at least one batch of frames/],
    ["even windows", () => fitPixelExits(small, [], { windows: [2] }), /must be odd/],
    [
      "frames of another size to carry",
      () => fitCarries(small, [tensor("float32", [1, 3, 9, 9])]),
      /frames must be float32 \[n, 3, 18, 22\]/,
    ],
    [
      "exits of other stages",
      async () => withPixelExits(small, []),
      /exits must be 2, one for each early stage; got 0/,
    ],
    ["carries of other stages", async () => withCarries(small, []), /carries must be those of 3 stages; got 0/],
    [
      "carries that are missing",
      () => open(withCarries(small, [[], [], []])),
      /stage 1 must have 0 carries; got 1 or more/,
    ],
    [
      "labels for exitLogits",
      () => exitLogits(small, [{ x: frame, labels: undefined as never }]).next(),
      /labels must be a uint8 or int32 tensor/,
    ],
  ])("refuse %s", async (_, run, message) => {
    const error = await run().catch((caught: InputError) => caught as Error);
    expect(error).toBeInstanceOf(InputError);
    expect((error as Error).message).toMatch(message);
  });

  it("NaN weights are found at the exit; a released segmenter refuses", async () => {
    const bad = { ...small, heads: [(x: Value) => ops.mul(small.heads[0]!(x), Number.NaN), small.heads[1]!] };
    const segmenter = await open(bad);
    await expect(segmenter.segment(frame)).rejects.toThrow(
      /logits must be finite; got NaN or infinity at exit 0 of frame 0/,
    );
    await segmenter.release();
    await segmenter.release();
    await expect(segmenter.segment(frame)).rejects.toThrow(/got a released one/);
  });
});
