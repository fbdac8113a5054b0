import { InputError, layers, type Tensor } from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";

/** Which part of an exit network is meant: both, the backbone with its own last layer, or the early exits' heads. */
export type Scope = "all" | "backbone" | "exits";

/**
 * The weights that are pruned, by their paths in {@link ExitParameters} (`backbone.conv1.weight`, `exits.0.linear.weight`):
 * float32 tensors of rank 2 to 5 that gradients change, which convolutions and linear layers have; never biases, batch norms or
 * running statistics, all of rank 1. In the order of the parameters, the backbone first.
 *
 * Source: the paper's bars are of convolutions and linear layers only [D].
 * @throws InputError where the part has no such weight, or a weight is NaN or infinite.
 */
export function prunableWeights(
  caller: string,
  network: ExitNetwork,
  params: ExitParameters,
  scope: Scope,
): ReadonlyMap<string, Tensor<"float32">> {
  const found = new Map<string, Tensor<"float32">>();
  for (const [path, weight] of Object.entries(layers.flattenParameters(params))) {
    if (!isIn(scope, path) || !isPrunable(network, path, weight)) continue;
    const bad = weight.data.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw new InputError(caller, `weights of "${path}" must be finite`, `${weight.data[bad]} at element ${bad}`);
    }
    found.set(path, weight);
  }
  if (found.size > 0) return found;
  const part = scope === "all" ? "the network" : `the ${scope}`;
  throw new InputError(caller, `${part} must have weights of convolutions or linear layers`, "none");
}

/** Whether a path belongs to that part of the network. */
export function isIn(scope: Scope, path: string): boolean {
  return scope === "all" || path.startsWith(`${scope}.`);
}

function isPrunable({ backbone }: ExitNetwork, path: string, weight: Tensor): weight is Tensor<"float32"> {
  if (weight.dtype !== "float32" || weight.shape.length < 2 || weight.shape.length > 5) return false;
  return path.startsWith("exits.") ? !layers.isStatistic(path) : backbone.isTrainable(path.slice("backbone.".length));
}
