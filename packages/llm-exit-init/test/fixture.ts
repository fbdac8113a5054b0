import { readFileSync } from "node:fs";
import { readSafetensors, type Tensor, tensor } from "@exitkit/core-gpu";
import type { FinalNorm, OutputLayer, StatesBatch } from "../src/index.ts";

const bytes = readFileSync(new URL("../fixtures/heads.safetensors", import.meta.url));

/** Text and golden values that NumPy and SciPy computed; see fixtures/generate.py. */
export const { tensors: golden } = readSafetensors(bytes);

export const VOCABULARY = 9;

export const finalNorm: FinalNorm = { kind: "rms", weight: golden.normWeight as Tensor<"float32">, epsilon: 1e-5 };

export const output: OutputLayer = {
  norm: finalNorm,
  weight: golden.output as Tensor<"float32">,
  bias: golden.outputBias as Tensor<"float32">,
};

/** The text in batches of so many windows: `training` has no token 8. */
export function windows(part: "training" | "heldOut", size = 16): StatesBatch[] {
  const [tokens, states, last] = (
    part === "training" ? ["tokens", "states", "last"] : ["heldTokens", "heldStates", "heldLast"]
  ).map((name) => golden[name]!);
  const [n, t, d] = states!.shape as [number, number, number];
  const starts = Array.from({ length: Math.ceil(n / size) }, (_, at) => at * size);
  return starts.map((from) => {
    const to = Math.min(n, from + size);
    const taken = ({ data }: Tensor) =>
      tensor("float32", [to - from, t, d], (data as Float32Array).slice(from * t * d, to * t * d));
    const own = (tokens!.data as Int32Array).slice(from * t, to * t);
    return { tokens: own, states: taken(states!), last: taken(last!) };
  });
}
