import { generator } from "@exitkit/core-gpu";
import { describe, expect, it } from "vitest";
import { choose, FAMILIES, type Measured } from "../src/experiments/cascades/choose.ts";
import { seenOnOtherHalf } from "../src/experiments/cascades/class-means.ts";
import { cascades } from "../src/experiments/cascades/index.ts";
import type { Network } from "../src/experiments/cascades/networks.ts";
import type { CascadesResult } from "../src/experiments/cascades/schema.ts";
import { checkResult } from "../src/experiments/result.ts";
import { markdown } from "../src/report/markdown.ts";

const n = 800;
const random = generator(2);
const labels = Int32Array.from({ length: n }, () => random.integer(10));
const hard = Array.from({ length: n }, () => random.uniform());

/** A network that is right where a sample is not too hard for it, and surer there. */
function network(name: string, bits: 8 | 32, chance: number, macs: number): Measured {
  const logits = new Float32Array(n * 10);
  labels.forEach((label, i) => {
    const right = hard[i]! < chance;
    for (let c = 0; c < 10; c++) logits[i * 10 + c] = 0.2 * random.normal();
    logits[i * 10 + (right ? label : (label + 1) % 10)]! += right ? 6 * (1 - hard[i]!) + 1 : 1;
  });
  const described = { name, backbone: name.split(" ")[0], bits, macs, bytes: 1000 } as Network;
  return { network: described, logits, times: { 64: macs / (bits === 8 ? 250 : 100), 1: macs / 100 }, callMs: 0 };
}

const all = [
  network("resnet8", 32, 0.85, 10),
  network("resnet8 8-bit", 8, 0.85, 10),
  network("resnet56", 32, 0.94, 100),
  network("resnet56 8-bit", 8, 0.94, 100),
];

describe("choosing cascades", () => {
  it("chooses on one half and reports on the other, both ways", () => {
    const chosen = choose(all, labels, FAMILIES[0]!, 0.01, 1)!;
    expect(chosen.choices.map(({ members }) => members)).toEqual([
      ["resnet8", "resnet56"],
      ["resnet8", "resnet56"],
    ]);
    expect(chosen.macsFraction).toBeLessThan(0.6);
    expect(chosen.macsFraction).toBeGreaterThan(0.1);
    expect(chosen.accuracy).toBeGreaterThan(0.9);
    expect(chosen.answers.filter((said, i) => said === labels[i]).length / n).toBeCloseTo(chosen.accuracy, 12);
    // Other labels on the second half do not change what was chosen on the first.
    const other = labels.map((label, i) => (i < n / 2 ? label : (label + 5) % 10));
    expect(choose(all, other, FAMILIES[0]!, 0.01, 1)!.choices[0]).toEqual(chosen.choices[0]);
  });

  it("says that nothing at hand is as right as was asked for", () => {
    expect(choose(all, labels, FAMILIES[0]!, -0.05, 1)).toBeNull();
  });

  it("in 8 bits the float network is only what all is compared with", () => {
    const { choices } = choose(all, labels, FAMILIES[1]!, 0.01, 1)!;
    for (const { members } of choices) expect(members).toEqual(["resnet8 8-bit", "resnet56 8-bit"]);
  });
});

describe("class means", () => {
  it("thresholds chosen on one half are seen on the other", () => {
    // In the first half the early exit is right where it is sure, in the second where it is not.
    const early = (i: number) => (i < n / 2 ? i % 2 === 0 : i % 2 === 1);
    const record = {
      exits: ["early", "full"],
      n,
      labels,
      confidences: [Float32Array.from(labels, (_, i) => (i % 2 === 0 ? 0.9 : 0.2)), new Float32Array(n).fill(1)],
      predictions: [labels.map((label, i) => (early(i) ? label : (label + 1) % 10)), labels],
    };
    const reference = new Uint8Array(n).fill(1);
    const way = { record, costs: { exits: [10, 40], full: 40 } } as never;
    const seen = seenOnOtherHalf(way, reference, 0, 80);
    // The first half lets the sure ones go, which are wrong in the second; the second, where none can go, costs 40 of 80.
    expect(seen.accuracy).toBeCloseTo((1 + 0.5) / 2, 12);
    expect(seen.macsFraction).toBeCloseTo((40 + (10 + 40) / 2) / 2 / 80, 12);
    expect(seen.answers.filter((said, i) => said === labels[i]).length / n).toBeCloseTo(seen.accuracy, 12);
    expect(seen.thresholds[0]).not.toEqual(seen.thresholds[1]);
  });
});

const row = {
  backbone: "resnet56",
  method: "plain" as const,
  members: ["resnet56"],
  bits: 32,
  answer: null,
  objective: null,
  wantedLoss: null,
  accuracy: 0.93,
  macsFraction: 1,
  wallFraction: 1,
  wallFraction1: 1,
  p50Ms: 1,
  p95Ms: 2,
  p99Ms: 3,
  bytes: 3_400_000,
};
const cascadeRow = {
  ...row,
  method: "cascade" as const,
  members: ["resnet8 8-bit", "resnet56 8-bit"],
  bits: 8,
  answer: "averaged" as const,
  objective: "time64",
  wantedLoss: 0,
};
const result = {
  experiment: "cascades",
  preset: "full",
  seed: 1,
  device: "cpu",
  config: {},
  environment: { cores: 2, cpu: "a CPU", node: "20", onnxruntime: "1", git: null },
  data: { name: "CIFAR-10", complete: true, train: 50_000, test: 10_000, files: [] },
  weights: [],
  calibrationPictures: 1000,
  timedPictures: 512,
  plain: { macs: 125e6, accuracy: 0.93, ms64: 1.1, ms1: 1.5 },
  quantised: [
    {
      backbone: "resnet56",
      weightBits: 8,
      saturates: false,
      bytesBefore: 3_400_000,
      bytesAfter: 900_000,
      error: 0.05,
      fusion: 0.001,
      worstLayer: { tensor: "block3", error: 0.06 },
    },
  ],
  rows: [
    row,
    { ...row, members: ["resnet56 8-bit"], bits: 8, wallFraction: 0.45, accuracy: 0.931 },
    {
      ...cascadeRow,
      accuracy: 0.9305,
      lostPictures: 195,
      gainedPictures: 200,
      macsFraction: 0.3,
      wallFraction: 0.14,
      wallFraction1: 0.4,
    },
    {
      ...cascadeRow,
      wantedLoss: 0.02,
      accuracy: 0.91,
      wallFraction: null,
      wallFraction1: null,
      p50Ms: null,
      p95Ms: null,
      p99Ms: null,
    },
  ],
} satisfies CascadesResult;

describe("what is said of it", () => {
  it("fits its schema, every key known", () => {
    expect(checkResult(cascades, result)).toMatchObject({ rows: { length: 4 } });
    expect(() => checkResult(cascades, { ...result, more: 1 })).toThrow(/does not know more/);
  });

  it("the README says which to use when, from timed ways only", () => {
    const text = markdown(cascades.readme!(result, new Map()));
    expect(text).toContain(
      "| smaller networks at hand, nothing to lose | ResNet-8 → ResNet-56, 8 bits, aimed at losing nothing | 93.05 % | −0.05 ± 0.39 | 0.300 × | 0.140 × | 0.400 × |",
    );
    expect(text).not.toContain("91.00 %");
  });

  it("the headline is the fastest way that loses nothing", () => {
    expect(cascades.report(result).headline.sentence.replaceAll("\u00a0", " ")).toBe(
      "ResNet-8 → ResNet-56, 8 bits, aimed at losing nothing: 93.05 % right, as ResNet-56 (93.00 %), in 14.0 % of its time.",
    );
    expect(markdown(cascades.measured!(result, new Map()))).toContain("### A picture at a time");
    expect(cascades.report({ ...result, rows: [], quantised: [] } as never).headline.sentence).toMatch(/none kept/);
  });
});
