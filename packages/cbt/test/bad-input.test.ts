import { InputError, tensor } from "@exitkit/core-gpu";
import { expect, it } from "vitest";
import {
  accumulateClassProbabilities,
  type ClassProbabilities,
  classThresholds,
  countConfusion,
  donePixels,
  type ExitLogits,
  mergeClassProbabilities,
  resizeLogits,
  segmentationQuality,
} from "../src/index.ts";

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
