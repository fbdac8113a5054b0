import type { Common } from "../experiments/result.ts";
import { decimal } from "./numbers.ts";

/** The machine and the software of a result in one line, for measured pages. */
export function machine({ environment, seed }: Pick<Common, "environment" | "seed">): string {
  const { cpu, cores, node, onnxruntime, git } = environment;
  const commit = `${git?.sha.slice(0, 12) ?? "unknown"}${git?.dirty ? " with changes" : ""}`;
  return `${cores} ${cores === 1 ? "core" : "cores"} (${cpu}), Node ${node}, ONNX Runtime ${onnxruntime}, seed ${seed}, commit ${commit}`;
}

/** How busy the machine was, where it was: times are then those of interleaved rounds, and larger than on a machine of one's own. */
export function busyWords({ environment }: Pick<Common, "environment">): string {
  const { loadAverage: [load = 0] = [], cores = 1 } = environment;
  return load > cores / 2
    ? ` The machine was busy (load ${decimal(load, 0)} on ${cores} cores): fractions of time are of interleaved rounds, milliseconds are not to be quoted.`
    : "";
}
