import type { Common } from "../experiments/result.ts";

/** The machine and the software of a result in one line, for measured pages. */
export function machine({ environment, seed }: Pick<Common, "environment" | "seed">): string {
  const { cpu, cores, node, onnxruntime, git } = environment;
  const commit = `${git?.sha.slice(0, 12) ?? "unknown"}${git?.dirty ? " with changes" : ""}`;
  return `${cores} ${cores === 1 ? "core" : "cores"} (${cpu}), Node ${node}, ONNX Runtime ${onnxruntime}, seed ${seed}, commit ${commit}`;
}
