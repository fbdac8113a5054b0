import { expect, test } from "vitest";
import { claimsOf } from "../../src/experiments/prune-ee/claims.ts";
import { barSentence } from "../../src/experiments/prune-ee/report.ts";
import type { ChannelRow, CurveRow, ExitRow, LayerRow, Order } from "../../src/experiments/prune-ee/schema.ts";

const exits = (order: Order, seed: number, accuracies: readonly number[]): ExitRow[] =>
  accuracies.map((accuracy, j) => ({
    ...{ network: "resnet20", order, seed, round: 3, sparsity: 0.5, accuracy },
    exit: j === accuracies.length - 1 ? "full" : `exit${j}`,
    macsFraction: (j + 1) / accuracies.length,
  }));
const curve = (order: Order, seed: number, points: readonly (readonly [number, number])[]): CurveRow[] =>
  points.map(([macsFraction, accuracy], at) => ({ order, seed, threshold: at / 10, accuracy, macsFraction }));
const layer = (order: Order, path: string, sparsity: number, size = 10): LayerRow => ({
  ...{ order, seed: 1, path, size, sparsity },
});
const none = { rows: [], curves: [], layers: [] };

test("each sentence of the paper is judged by this run's numbers, as a difference in its direction", () => {
  const rows = [...exits("together", 1, [0.6, 0.7, 0.8]), ...exits("sequential", 1, [0.5, 0.6, 0.85])];
  const curves = [
    ...curve("together", 1, [
      [0.4, 0.7],
      [0.8, 0.8],
    ]),
    ...curve("sequential", 1, [
      [0.5, 0.7],
      [0.9, 0.75],
    ]),
  ];
  const layers = [
    layer("together", "backbone.conv1.weight", 0.3),
    layer("together", "backbone.layer1.0.conv1.weight", 0.5),
    layer("together", "exits.0.linear.weight", 0.6),
    layer("sequential", "exits.0.linear.weight", 0.8),
  ];
  const claims = claimsOf({ rows, curves, layers });
  expect(claims.map(({ status }) => status)).toEqual(Array(5).fill("as the paper says"));
  expect(claims.map(({ measured }) => measured)).toEqual([
    "mean over the early exits, together minus in order: 10.0 points (1 seed)",
    "last exit, in order minus together: 5.0 points (1 seed)",
    "at most 20\u00a0% saved, mean over 1 seed",
    "sparsity of the exits, in order minus together: 20.0 points (1 seed)",
    "first convolution 0.30, the others 0.50 to 0.50; shortcuts have no weights here",
  ]);
});

test("otherwise, within the spread and not attempted are said", () => {
  const status = (rows: readonly ExitRow[]) => claimsOf({ ...none, rows }).map((claim) => claim.status);
  const worse = [...exits("together", 1, [0.5, 0.9]), ...exits("sequential", 1, [0.6, 0.8])];
  expect(status(worse).slice(0, 2)).toEqual(["otherwise", "otherwise"]);
  const other = [...exits("together", 2, [0.8, 0.8]), ...exits("sequential", 2, [0.6, 0.9])];
  expect(status([...worse, ...other]).slice(0, 2)).toEqual(["within the spread", "within the spread"]);
  expect(status([])).toEqual(Array(5).fill("not attempted"));
  expect(status(exits("together", 1, [0.5, 0.9]))[0]).toBe("not attempted");
});

test("pruning pays only where no plain network is as fast and more often right", () => {
  const row = (network: string, keep: number, accuracy: number, wallFraction: number): ChannelRow => ({
    ...{ network, keep, seed: 1, accuracy, macsFraction: wallFraction, wallFraction, batch: 64, runs: 9 },
  });
  const plain = [row("resnet56", 1, 0.94, 1), row("resnet20", 1, 0.917, 0.33), row("resnet32", 1, 0.926, 0.55)];
  expect(barSentence([...plain, row("resnet56 0.5", 0.5, 0.9, 0.4)])).toBe(
    "A smaller network from the start is the better choice: the pruned one is right in 90.0\u00a0% at 0.400\u00a0× of the time, ResNet-20 91.7\u00a0% at 0.330\u00a0×; 1.7\u00a0points better.",
  );
  expect(barSentence([...plain, row("resnet56 0.5", 0.5, 0.9, 0.4), row("resnet56 0.75", 0.75, 0.93, 0.6)])).toBe(
    "Pruning pays: 93.0\u00a0% at 0.600\u00a0× of the time, ResNet-32 92.6\u00a0% at 0.550\u00a0×.",
  );
  expect(barSentence([...plain, row("resnet56 0.5", 0.5, 0.9, 0.3)])).toBe("");
  expect(barSentence([])).toBe("");
});
