import { type Generator, generator } from "@exitkit/core-gpu";
import { expect, it } from "vitest";
import {
  agreementFrontier,
  type Confidence,
  calibrate,
  type ExitRecord,
  fitAgreement,
  NEVER,
  type Risk,
  replay,
  selectRows,
} from "../src/index.ts";
import { recorded, recordedBy } from "./recorded.ts";

const { costs } = recorded;
const RUNS = 1000;

/** The risk of thresholds on a record. */
function riskOf(record: ExitRecord, thresholds: readonly number[], risk: Risk): number {
  const { predictions } = replay(record, thresholds, costs);
  const full = record.predictions.at(-1)!;
  let sum = 0;
  record.labels.forEach((label, i) => {
    const [ours, theirs] = [predictions[i] === label, full[i] === label];
    if (risk === "error") sum += ours ? 0 : 1;
    else if (risk === "loss") sum += Number(theirs) - Number(ours);
    else if (risk === "harm") sum += theirs && !ours ? 1 : 0;
    else sum += predictions[i] === full[i] ? 0 : 1;
  });
  return sum / record.n;
}

/** n samples drawn from the population, which is thereby the distribution of what is to come. */
function draw(population: ExitRecord, n: number, random: Generator): ExitRecord {
  return selectRows(
    population,
    Int32Array.from({ length: n }, () => random.integer(population.n)),
  );
}

it.each<[Confidence, Risk, number, number, number]>([
  ["maxProbability", "disagreement", 0.04, 0.1, 0.9],
  ["margin", "error", 0.12, 0.1, 0.9],
  ["normalisedEntropy", "loss", 0.03, 0.05, 0.9],
  ["maxProbability", "harm", 0.03, 0.2, 0.85],
])(
  "law: %s, %s ≤ %d: of 1,000 calibrations at most a share of δ = %d exceed it",
  async (rule, risk, maxRisk, delta, cost) => {
    const population = recordedBy(rule);
    const random = generator(11);
    let exceeded = 0;
    let paid = 0;
    for (let run = 0; run < RUNS; run++) {
      const record = draw(population, 500, random);
      const found = await calibrate(record, costs, { risk, maxRisk, delta, random });
      if (found.certified && riskOf(population, found.thresholds, risk) > maxRisk) exceeded++;
      paid += replay(population, found.thresholds, costs).costFraction / RUNS;
    }
    expect(exceeded / RUNS).toBeLessThanOrEqual(delta);
    // Not for nothing: it stops early, and comes near enough to the limit to exceed it sometimes.
    expect(exceeded).toBeGreaterThan(0);
    expect(paid).toBeLessThan(cost);
  },
  120_000,
);

it("law: thresholds chosen by the risk seen exceed it far more often than δ", () => {
  const population = recordedBy("maxProbability");
  const random = generator(11);
  let exceeded = 0;
  for (let run = 0; run < 100; run++) {
    const record = draw(population, 500, random);
    const unlabelled = { ...record, labels: record.predictions.at(-1)! };
    const points = agreementFrontier(unlabelled, costs, fitAgreement(unlabelled));
    const seen = points.find(({ thresholds }) => riskOf(record, thresholds, "disagreement") <= 0.04);
    if (riskOf(population, seen?.thresholds ?? [NEVER, NEVER, NEVER], "disagreement") > 0.04) exceeded++;
  }
  expect(exceeded).toBeGreaterThan(30);
}, 60_000);
