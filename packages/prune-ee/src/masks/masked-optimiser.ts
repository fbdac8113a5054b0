import { InputError, layers, ops, type optimisers, type TreeRecord, type Value } from "@exitkit/core-gpu";
import { checkedMasks, type Masks } from "./masks.ts";

/**
 * An optimiser under which pruned weights stay exactly 0: their gradients, their share of the optimiser's state (momentum, moments)
 * and their next values are 0 at every update. The masks become constants of the training step.
 *
 * Masking gradients alone is not enough: a momentum from before pruning moves a pruned weight on.
 *
 * @param masks By the parameters' paths; parameters without one are trained as ever.
 * @throws InputError on what is no optimiser or no masks; while tracing, where a mask has another shape than its parameter.
 */
export function maskedOptimiser(optimiser: optimisers.Optimiser, masks: Masks): optimisers.Optimiser {
  const caller = "prune-ee.maskedOptimiser";
  if (typeof optimiser?.update !== "function" || typeof optimiser.init !== "function") {
    throw new InputError(caller, "an optimiser is needed", typeof optimiser, "Pass e.g. optimisers.sgd().");
  }
  checkedMasks(caller, masks);
  const masked = <T extends TreeRecord<Value>>(tree: T, params: readonly string[]): T => {
    const changed = Object.entries(layers.flattenParameters(tree)).flatMap(([name, value]) => {
      const path = parameterOf(name, params);
      const mask = path === undefined ? undefined : masks[path];
      if (mask === undefined || value.shape.length === 0) return [];
      if (mask.shape.join() === value.shape.join()) return [[name, ops.where(mask, value, 0)] as const];
      throw new InputError(caller, `the mask of "${path}" must be [${value.shape.join(", ")}]`, `[${mask.shape}]`);
    });
    return layers.mergeParameters(tree, Object.fromEntries(changed));
  };
  return {
    init: (params) => optimiser.init(params),
    update: (gradients, state, params, options) => {
      const paths = Object.keys(layers.flattenParameters(params));
      const next = optimiser.update(masked(gradients, paths), masked(state, paths), params, options);
      return { params: masked(next.params as TreeRecord<Value>, paths) as typeof next.params, state: next.state };
    },
  };
}

/** The parameter that a leaf is or, in an optimiser's state (`momentum.conv.weight`), is kept for: the longest path it ends in. */
function parameterOf(name: string, params: readonly string[]): string | undefined {
  if (params.includes(name)) return name;
  const kept = params.filter((path) => name.endsWith(`.${path}`));
  return kept.reduce<string | undefined>((best, path) => (path.length > (best?.length ?? 0) ? path : best), undefined);
}
