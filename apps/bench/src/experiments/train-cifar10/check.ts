import assert from "node:assert/strict";
import type { TrainCifar10Result } from "./schema.ts";

/** The network learns on the repository's subset. */
export function check({ curve }: TrainCifar10Result): string {
  const [first, last] = [curve[0], curve.at(-1)];
  assert.ok(first !== undefined && last !== undefined && curve.length >= 2, "two epochs at least");
  assert.ok(last.trainLoss < first.trainLoss, "the loss falls");
  assert.ok(last.testAccuracy > Math.max(first.testAccuracy, 0.3), "the accuracy rises, far above chance");
  const losses = curve.map(({ trainLoss }) => trainLoss.toFixed(2)).join(" → ");
  return `training: loss ${losses}, accuracy ${curve.map(({ testAccuracy }) => testAccuracy.toFixed(3)).join(" → ")}`;
}
