import assert from "node:assert/strict";
import { percent } from "../../report/numbers.ts";
import { distinct } from "../../report/series.ts";
import type { LlmResult } from "./schema.ts";

/** The heads predict before they are trained, the better the deeper, and learn. */
export function check({ rows, models, stories }: LlmResult): string {
  const [model] = models;
  assert.ok(model !== undefined && stories.length > 0, "a model and its story");
  const first = rows.filter(({ setting }) => setting === "closed form");
  const of = (layer: number, init: string) => first.find((row) => row.layer === layer && row.init === init)!;
  const layers = distinct(first.map(({ layer }) => layer));
  for (const layer of layers) {
    const best = of(layer, "map + classes");
    for (const row of first.filter((other) => other.layer === layer && other !== best)) {
      assert.ok(best.crossEntropy < row.crossEntropy, `map + classes predicts best after block ${layer}`);
    }
  }
  assert.ok(of(2, "class-aware").accuracy > 4 * of(2, "copy").accuracy, "class-aware is far ahead of copying");
  const agreements = layers.map((layer) => of(layer, "map + classes").agreement);
  assert.deepEqual(
    agreements,
    [...agreements].sort((a, b) => a - b),
    "deeper exits agree more with the model",
  );
  const random = rows.filter(({ setting, init }) => setting === "frozen" && init === "random");
  assert.ok(random.at(-1)!.crossEntropy < random[0]!.crossEntropy, "a random head learns");
  const said = layers.map((layer) => percent(of(layer, "map + classes").accuracy)).join(", ");
  return `token exits of ${model.name} before training: ${said} right after blocks ${layers.join(", ")}; the model ${percent(model.accuracy)}`;
}
