import { readFileSync } from "node:fs";
import { type Device, generator, InputError, openDevice, rows } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { logisticRegression } from "../src/gates/logistic-regression.ts";
import {
  attachGates,
  defineExits,
  type ExitCosts,
  fitGates,
  type Gates,
  gatedRecord,
  type LogitsRecord,
  openStaged,
  recordExits,
  recordLogits,
  replay,
  selectRows,
} from "../src/index.ts";
import { randomBatch, residualNetwork } from "./networks.ts";
import { recorded, recordedBy } from "./recorded.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const whole: LogitsRecord = {
  ...recordedBy("maxProbability"),
  classes: recorded.k,
  logits: recorded.logits.map(({ data }) => data),
};

function pick(record: LogitsRecord, indices: readonly number[]): LogitsRecord {
  const { classes } = record;
  const logits = record.logits.map((row) =>
    Float32Array.from(indices.flatMap((i) => [...row.subarray(i * classes, (i + 1) * classes)])),
  );
  return { ...selectRows(record, indices), classes, logits };
}

/** Error + tradeOff · cost of what the gates do. */
function objective(record: LogitsRecord, gates: Gates, costs: ExitCosts): number {
  const { accuracy, costFraction } = decided(record, gates, costs);
  return 1 - accuracy + gates.tradeOff * costFraction;
}

function decided(record: LogitsRecord, gates: Gates, costs: ExitCosts) {
  const halves = gates.gates.map(() => 0.5);
  return replay(gatedRecord(record, gates), halves, costs);
}

/** Logits whose largest says how likely the exit is right, later exits abler. */
function syntheticLogits(n: number, e: number, k: number, seed: number): LogitsRecord {
  const random = generator(seed);
  const labels = Int32Array.from({ length: n }, () => random.integer(k));
  const difficulty = Array.from({ length: n }, () => random.normal());
  const logits = Array.from({ length: e }, (_, j) => {
    const row = new Float32Array(n * k);
    for (let i = 0; i < n; i++) {
      for (let c = 0; c < k; c++) row[i * k + c] = random.normal();
      row[i * k + labels[i]!]! += 1 + (2 * j) / e - difficulty[i]!;
    }
    return row;
  });
  const predictions = logits.map((row) =>
    Int32Array.from({ length: n }, (_, i) => {
      const own = row.subarray(i * k, (i + 1) * k);
      return own.indexOf(Math.max(...own));
    }),
  );
  const confidences = logits.map(() => new Float32Array(n).fill(0.5));
  return { exits: logits.map((_, j) => `exit${j}`), n, classes: k, logits, confidences, predictions, labels };
}

describe("logisticRegression", () => {
  it("is scikit-learn's, weights, ridge and separable classes included", () => {
    const { cases } = JSON.parse(readFileSync(new URL("../fixtures/gates.json", import.meta.url), "utf8")) as {
      readonly cases: readonly {
        readonly features: readonly (readonly number[])[];
        readonly labels: readonly number[];
        readonly importance: readonly number[];
        readonly ridge: number;
        readonly weights: readonly number[];
        readonly offset: number;
      }[];
    };
    for (const { features, labels, importance, ridge, weights, offset } of cases) {
      const found = logisticRegression(
        features.map((column) => Float64Array.from(column)),
        Uint8Array.from(labels),
        Float64Array.from(importance),
        ridge,
      );
      [...weights, offset].forEach((expected, at) => {
        expect([...found.weights, found.offset][at]).toBeCloseTo(expected, 6);
      });
    }
  });
});

describe("fitGates", () => {
  const costs: ExitCosts = { exits: [12, 25, 41], full: 40 };

  it("law: no worse on its record than leaving always at any one exit", () => {
    const shape = fc.record({
      seed: fc.nat(1000),
      n: fc.integer({ min: 2, max: 120 }),
      k: fc.integer({ min: 2, max: 5 }),
      tradeOff: fc.constantFrom(0, 0.01, 0.1, 0.5, 2, 1e6),
    });
    fc.assert(
      fc.property(shape, ({ seed, n, k, tradeOff }) => {
        const record = syntheticLogits(n, 3, k, seed);
        const gates = fitGates(record, costs, { tradeOff });
        const best = Math.min(
          ...record.predictions.map((row, j) => {
            const wrong = row.filter((answer, i) => answer !== record.labels[i]).length;
            return wrong / n + (tradeOff * costs.exits[j]!) / costs.full;
          }),
        );
        expect(objective(record, gates, costs)).toBeLessThanOrEqual(best * (1 + 1e-9) + 1e-9);
      }),
      { numRuns: 60, seed: 1 },
    );
  });

  it("gains by deciding sample by sample", () => {
    const record = syntheticLogits(400, 3, 4, 5);
    const gates = fitGates(record, costs, { tradeOff: 0.3 });
    const constant = Math.min(
      ...record.predictions.map(
        (row, j) =>
          row.filter((answer, i) => answer !== record.labels[i]).length / 400 + (0.3 * costs.exits[j]!) / costs.full,
      ),
    );
    expect(objective(record, gates, costs)).toBeLessThan(constant - 0.01);
    expect(decided(record, gates, costs).shares.filter((share) => share > 0.05).length).toBeGreaterThan(1);
  });

  it("without a price on cost leaves early only where that is not worse", () => {
    const record = syntheticLogits(300, 3, 4, 8);
    const full = replay(record, [2, 2], costs).accuracy;
    expect(decided(record, fitGates(record, costs, { tradeOff: 0 }), costs).accuracy).toBeGreaterThanOrEqual(full);
    // Where early exits never err, all leave at the first: equal error, less cost.
    const perfect = { ...record, predictions: [record.labels, record.labels, record.predictions[2]!] };
    const { accuracy, shares } = decided(perfect, fitGates(perfect, costs, { tradeOff: 0 }), costs);
    expect([accuracy, ...shares]).toEqual([1, 1, 0, 0]);
    // Where they always err and the full network never does, none leaves.
    const wrong = record.labels.map((label) => (label + 1) % 4);
    const useless = { ...record, predictions: [wrong, wrong, record.labels] };
    expect(decided(useless, fitGates(useless, costs, { tradeOff: 0 }), costs).shares).toEqual([0, 0, 1]);
  });

  it("lets all leave at the first exit when only cost counts, samples it has not seen too", () => {
    const gates = fitGates(syntheticLogits(50, 3, 4, 1), costs, { tradeOff: 1e9 });
    expect(gates.gates[0]!.weights).toEqual({ maxProbability: 0, margin: 0, normalisedEntropy: 0 });
    expect(decided(syntheticLogits(500, 3, 4, 2), gates, costs).shares).toEqual([1, 0, 0]);
  });

  it("gives a frontier on new samples as the trade-off grows", () => {
    const order = [...generator(1).permutation(whole.n)];
    const [fitted, held] = [pick(whole, order.slice(0, 1250)), pick(whole, order.slice(1250))];
    const points = [0, 0.1, 0.3, 1, 1e9].map((tradeOff) =>
      decided(held, fitGates(fitted, recorded.costs, { tradeOff }), recorded.costs),
    );
    points.slice(1).forEach(({ meanCost }, at) => {
      expect(meanCost).toBeLessThan(points[at]!.meanCost);
    });
    // Well above what sending samples on by chance gives at the same cost.
    const first = points.at(-1)!;
    const full = replay(held, [2, 2, 2], recorded.costs);
    for (const { accuracy, meanCost } of points.slice(1, 4)) {
      const share = (meanCost - first.meanCost) / (full.meanCost - first.meanCost);
      expect(accuracy).toBeGreaterThan(first.accuracy + share * (full.accuracy - first.accuracy) + 0.02);
    }
  });

  it("names what is wrong", () => {
    const record = syntheticLogits(10, 3, 4, 1);
    const refused = (run: () => unknown, text: string) => {
      expect(run).toThrow(InputError);
      expect(run).toThrow(text);
    };
    refused(() => fitGates(record, costs, { tradeOff: -1 }), "tradeOff");
    refused(() => fitGates(record, costs, { tradeOff: Number.POSITIVE_INFINITY }), "tradeOff");
    refused(() => fitGates(record, costs, { tradeOff: 1, ridge: 0 }), "ridge");
    refused(() => fitGates(record, costs, { tradeOff: 1, lambda: 0 } as never), "lambda");
    refused(() => fitGates(record, { exits: [1, 2], full: 2 }, { tradeOff: 1 }), "costs.exits");
    refused(() => fitGates({ ...record, classes: 5 }, costs, { tradeOff: 1 }), "Float32Array of 10 · 5");
    refused(() => fitGates({ ...record, logits: [] }, costs, { tradeOff: 1 }), "0 rows");
    const gates = fitGates(record, costs, { tradeOff: 1 });
    refused(() => gatedRecord({ ...record, exits: ["a", "b", "c"] }, gates), "gates of the exits a, b, c");
    refused(() => gatedRecord(syntheticLogits(10, 3, 3, 1), gates), "3 classes");
    refused(() => attachGates(residualNetwork(), { ...gates, exits: ["a", "b", "c"] }), "gates of the exits exit0");
  });
});

describe("gates in the graph", () => {
  const n = 60;
  const network = residualNetwork({ exits: 4 });
  const x = randomBatch(n);
  const y = Int32Array.from({ length: n }, (_, i) => (i * 7) % 5);
  const costs: ExitCosts = { exits: [10, 20, 30, 40], full: 40 };

  it("recordLogits records what recordExits does, and the scores", async () => {
    const batches = [
      { x: rows(x, 0, 25), y: y.subarray(0, 25) },
      { x: rows(x, 25, n), y: y.subarray(25) },
    ];
    const done: number[] = [];
    const record = await recordLogits(device, network, batches, { onProgress: (samples) => done.push(samples) });
    expect(done).toEqual([25, n]);
    const { classes, logits, ...plain } = record;
    expect(plain).toEqual(await recordExits(device, network, batches));
    expect(classes).toBe(5);
    expect(logits.map(({ length }) => length)).toEqual([5 * n, 5 * n, 5 * n, 5 * n]);
    record.predictions.forEach((row, j) => {
      row.forEach((answer, i) => {
        const own = logits[j]!.subarray(5 * i, 5 * i + 5);
        expect(own[answer]).toBe(Math.max(...own));
      });
    });
  });

  it("decide there what they decide on the record", async () => {
    const labelled = await recordLogits(device, network, [{ x, y }]);
    // Labels that the later exits know better.
    const labels = labelled.predictions[3]!.map((answer, i) => (i % 5 === 0 ? labelled.predictions[1]![i]! : answer));
    const record = { ...labelled, labels };
    const gates = fitGates(record, costs, { tradeOff: 0.2 });
    const gated = gatedRecord(record, gates);
    const attached = attachGates(network, gates);
    const inGraph = await recordExits(device, attached, [{ x, y: labels }]);
    expect({ ...inGraph, confidences: null }).toEqual({ ...gated, confidences: null });
    gated.confidences.forEach((row, j) => {
      row.forEach((confidence, i) => {
        expect(Math.abs(confidence - inGraph.confidences[j]![i]!)).toBeLessThan(1e-5);
      });
    });
    const staged = await openStaged(device, attached);
    const { leftAt, predictions } = await staged.classify(x, [0.5, 0.5, 0.5]);
    await staged.release();
    const { leftAt: left, predictions: answered, shares } = replay(gated, [0.5, 0.5, 0.5], costs);
    expect(leftAt).toEqual(left);
    expect(predictions).toEqual(answered);
    expect(shares.filter((share) => share > 0).length).toBeGreaterThan(1);
  });

  it("name exits without scores", async () => {
    const unnamed = defineExits(
      network.model,
      network.exits.map(({ scores: _, ...exit }) => exit),
    );
    await expect(recordLogits(device, unnamed, [{ x, y }])).rejects.toThrow(
      'early-exit.recordLogits: exit "exit0" must name its scores',
    );
    const record = await recordLogits(device, network, [{ x, y }]);
    const gates = fitGates(record, costs, { tradeOff: 0.2 });
    expect(() => attachGates(unnamed, gates)).toThrow('early-exit.attachGates: exit "exit0" must name its scores');
    const [first, ...others] = network.exits;
    const odd = defineExits(network.model, [{ ...first!, scores: "exit0/confidence" }, ...others]);
    await expect(recordLogits(device, odd, [{ x, y }])).rejects.toThrow("must be float32 [n, k]; got float32 [60]");
  });
});
