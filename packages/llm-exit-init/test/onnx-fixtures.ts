import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { readSafetensors, type Tensor } from "@exitkit/core-gpu";

/** PyTorch's answers to an export; made by fixtures/generate_onnx.py. */
export function onnxGolden(name: string): Readonly<Record<string, Tensor>> {
  const path = fileURLToPath(new URL(`../fixtures/onnx/${name}.safetensors`, import.meta.url));
  return readSafetensors(readFileSync(path)).tensors;
}
