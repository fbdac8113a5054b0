// Networks as people's tools write them: what fit and openClassifier make of each (core-gpu/fixtures/odd).
import { readFileSync } from "node:fs";
import { type Device, type Model, openDevice, readModel, type Tensor, tensor } from "@exitkit/core-gpu";
import { NEVER } from "@exitkit/early-exit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FitOptions, type FittedExits, fit, openClassifier } from "../src/index.ts";

const folder = new URL("../../core-gpu/fixtures/odd/", import.meta.url);
const odd = (name: string): Model => readModel(readFileSync(new URL(`${name}.onnx`, folder)));

let device: Device;
/** 240 samples of noise and what plain answers to them. */
let x: Tensor<"float32">;
let labels: Int32Array;
let plain: FittedExits;

const width = 3 * 8 * 8;
const rowsOf = (from: number, to: number) =>
  tensor("float32", [to - from, 3, 8, 8], x.data.slice(from * width, to * width));
const batches = (from: number, to: number, classes = 4) => [
  { x: rowsOf(from, to), y: labels.slice(from, to).map((label) => label % classes) },
];

const fitted = (name: string, options: Partial<FitOptions> = {}) =>
  fit(odd(name), batches(0, 160, options.classes), {
    classes: 4,
    calibration: batches(160, 240, options.classes),
    features: "pooled",
    device,
    ...options,
  });

async function answers(name: string, exits: FittedExits, thresholds?: readonly number[]) {
  const classifier = await openClassifier(odd(name), exits, {
    device,
    thresholds: thresholds ?? exits.exits.map(() => 0.6),
  });
  const given = await classifier.classify(rowsOf(0, 40));
  await classifier.release();
  return given;
}

beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
  // A fixed pseudo-random sequence, of rows that differ in size so that answers do.
  x = tensor(
    "float32",
    [240, 3, 8, 8],
    Array.from({ length: 240 * width }, (_, at) => Math.sin(at * at * 0.37) * (1 + (Math.floor(at / width) % 7))),
  );
  const session = await device.load(odd("plain"));
  const { logits } = await session.run({ x });
  await session.release();
  labels = Int32Array.from({ length: 240 }, (_, row) => {
    const own = Array.from({ length: 4 }, (__, c) => Number(logits!.data[row * 4 + c]));
    // Three of four right, as a network is; the others any class, so that every class has samples.
    return row % 4 === 0 ? (row / 4) % 4 : own.indexOf(Math.max(...own));
  });
  plain = await fitted("plain");
}, 60_000);
afterAll(() => device.close());

describe("scores are taken as logits", () => {
  it.each(["softmax", "reshaped", "logsoftmax"])(
    "of %s as of plain: same operating points, same answers",
    async (name) => {
      const exits = await fitted(name);
      expect(exits.scoresFrom!.holds).toBe(name === "logsoftmax" ? "logProbabilities" : "probabilities");
      expect(exits.operatingPoints.map(({ accuracy }) => accuracy)).toEqual(
        plain.operatingPoints.map(({ accuracy }) => accuracy),
      );
      for (const thresholds of [plain.exits.map(() => 0.6), plain.exits.map(() => NEVER)]) {
        const [own, reference] = [await answers(name, exits, thresholds), await answers("plain", plain, thresholds)];
        expect(own.predictions).toEqual(reference.predictions);
        own.confidences.forEach((value, row) => {
          expect(value).toBeCloseTo(reference.confidences[row]!, 4);
        });
      }
    },
  );

  it("where no Softmax is to be seen the caller is asked, and believed", async () => {
    await expect(fitted("handmade")).rejects.toThrow(
      'e2cm.fit: it must be known whether the output holds logits; got "probs", whose rows sum to 1 without a Softmax to be seen. Say so: scores: "probabilities"',
    );
    const exits = await fitted("handmade", { scores: "probabilities" });
    const never = plain.exits.map(() => NEVER);
    const [own, reference] = [await answers("handmade", exits, never), await answers("plain", plain, never)];
    own.confidences.forEach((value, row) => {
      expect(value).toBeCloseTo(reference.confidences[row]!, 4);
    });
  });

  it("one sigmoid is two classes; the advice for another number works", async () => {
    await expect(fitted("sigmoid1", { classes: 4 })).rejects.toThrow(
      "One sigmoid answers two classes: set `classes` to 2.",
    );
    const exits = await fitted("sigmoid1", { classes: 2 });
    const { predictions, confidences } = await answers(
      "sigmoid1",
      exits,
      exits.exits.map(() => NEVER),
    );
    expect(new Set(predictions).size).toBe(2);
    for (const value of confidences) expect(value).toBeGreaterThanOrEqual(0.5);
  });

  it("of several outputs the caller is asked which", async () => {
    await expect(fitted("auxfirst")).rejects.toThrow(
      'the model must have one output [n, 4]; got "aux", "logits". Say which: output: "aux" or "logits".',
    );
    const exits = await fitted("auxfirst", { output: "logits" });
    const never = plain.exits.map(() => NEVER);
    expect((await answers("auxfirst", exits, never)).predictions).toEqual(
      (await answers("plain", plain, never)).predictions,
    );
  });
});

describe("rows must answer for themselves", () => {
  it.each([
    ["bntrain", /by BatchNormalization node ".*"\. Export the network in evaluation mode/],
    ["dynq", /by DynamicQuantizeLinear node ".*"\. Quantise it statically/],
    ["bakedbatch", /the model must take batches of any size; got "x": .*Reshape too/],
  ])("%s is refused by name", async (name, message) => {
    await expect(fitted(name)).rejects.toThrow(message);
  });
});

describe("types, operator sets and identity", () => {
  it.each(["fp16", "qop"])("%s: taps chosen by default can be read, and answers are near plain's", async (name) => {
    const exits = await fitted(name);
    for (const { tap } of exits.exits) expect(tap).toMatch(/\/float32$/);
    const own = await answers(name, exits);
    const reference = await answers("plain", plain);
    const same = own.predictions.filter((answer, row) => answer === reference.predictions[row]).length;
    expect(same).toBeGreaterThan(name === "fp16" ? 38 : 30);
    // A name from the file is as good.
    const [first] = exits.exits;
    const named = await fitted(name, { taps: [first!.tap.replace("/float32", "")] });
    expect(named.exits[0]!.tap).toBe(first!.tap);
  });

  it.each(["opset7", "opset9", "opset24", "opset26", "unsorted"])("%s answers as plain", async (name) => {
    const exits = await fitted(name);
    expect((await answers(name, exits)).predictions).toEqual((await answers("plain", plain)).predictions);
  });

  it("exits open on a file that was annotated or sorted since, and not on another network", async () => {
    for (const name of ["meta", "unsorted"]) expect((await answers(name, plain)).predictions).toHaveLength(40);
    await expect(answers("opset9", plain)).rejects.toThrow("the exits were fitted on the model with sha256");
  });
});
