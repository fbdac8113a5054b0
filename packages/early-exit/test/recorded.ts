import { readFileSync } from "node:fs";
import { readSafetensors, type Tensor, tensor } from "@exitkit/core-gpu";
import { type Confidence, confidences, type ExitCosts, type ExitRecord, exitCosts } from "../src/index.ts";

const file = (name: string) => readFileSync(new URL(`../fixtures/recorded/${name}`, import.meta.url));

/** Three early exits and the full network, ResNet-20, on 2,500 CIFAR-10 pictures: see fixtures/recorded/generate.py. */
export const recorded = (() => {
  const about = JSON.parse(file("recorded.json").toString()) as {
    readonly exits: readonly string[];
    readonly backboneMacs: readonly number[];
    readonly overheadMacs: readonly number[];
    readonly right: readonly number[];
  };
  const { scores, low, step, labels } = readSafetensors(file("recorded.safetensors")).tensors as Record<string, Tensor>;
  const [e, n, k] = scores!.shape as [number, number, number];
  const logits = Array.from({ length: e }, (_, j) => {
    const values = Float32Array.from(
      (scores!.data as Uint8Array).subarray(j * n * k, (j + 1) * n * k),
      (number) => Number(low!.data[j]) + Number(step!.data[j]) * number,
    );
    return tensor("float32", [n, k], values);
  });
  const costs: ExitCosts = exitCosts({ backbone: about.backboneMacs, overheads: about.overheadMacs });
  return {
    exits: about.exits,
    n,
    k,
    logits,
    labels: Int32Array.from(labels!.data as Uint8Array),
    costs,
    right: about.right,
  };
})();

/** The record under a rule. */
export function recordedBy(rule: Confidence): ExitRecord {
  const { exits, n, k, logits, labels } = recorded;
  const answer = (row: Float32Array) => row.reduce((best, score, at) => (score > row[best]! ? at : best), 0);
  return {
    exits,
    n,
    confidences: logits.map((scores) => Float32Array.from(confidences(scores, rule))),
    predictions: logits.map(({ data }) =>
      Int32Array.from({ length: n }, (_, i) => answer(data.subarray(i * k, (i + 1) * k))),
    ),
    labels,
  };
}
