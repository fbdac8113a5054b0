import assert from "node:assert/strict";
import { meansOf } from "./means.ts";
import type { EepruneResult } from "./schema.ts";

/** The counted quantities of the quick preset: what is kept, what was seen, what the classes lose. */
export function check({ rows, brief, classes, classSize, data, settings, toy }: EepruneResult): string {
  const { batch, epochs, briefEpochs } = settings;
  const steps = (pictures: number) => epochs * Math.floor(pictures / batch);
  for (const { method, ratio, budget, samplesSeen, accuracy, scoringCost } of rows) {
    const kept = data.train - Math.round(data.train * ratio);
    const wanted = budget === "steps" ? steps(data.train) : steps(kept);
    assert.equal(samplesSeen, wanted * batch, `${method}, ${ratio}, equal ${budget}`);
    const scored = method === "random" || method === "whole" ? 0 : briefEpochs * Math.floor(data.train / batch) * batch;
    assert.equal(scoringCost, scored, `what ${method} costs to choose`);
    assert.ok(accuracy > 0.1, `${method} is above chance`);
  }
  for (const { pruned, ratio } of classes) {
    assert.equal(
      pruned.reduce((sum, one) => sum + one, 0),
      Math.round(data.train * ratio),
    );
    pruned.forEach((one, k) => {
      assert.ok(one <= classSize[k]!, "no class loses more than it has");
    });
  }
  const [run] = brief;
  assert.ok(run !== undefined && run.both <= Math.min(run.early, run.final), "right at both is right at each");
  const shares = toy.map(({ pruned }) => pruned.reduce((sum, one) => sum + one, 0));
  assert.ok(shares[0]! < shares.at(-1)!, "the toy prunes more as it learns");
  const words = meansOf(rows).map(
    ({ method, ratio, budget, mean }) => `${method} ${ratio} ${budget} ${mean.toFixed(3)}`,
  );
  return `eeprune: ${words.join(", ")}`;
}
