import {
  type Device,
  gradients,
  layers,
  ops,
  type optimisers,
  type Program,
  type Runner,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";

/** Outputs of the step, [batch, k]: what the two exits say, before the update and as batch norm trains. */
export const EARLY = "early";
export const FINAL = "final";

/**
 * One training step of a network with one early exit, everything trained: the loss is
 * `(1 ÷ n)·Σᵢ weightᵢ·(w₀·CE(earlyᵢ, yᵢ) + w₁·CE(finalᵢ, yᵢ))`. Inputs beside the state: `x`, `y` int64, `weight` [n] and
 * `learningRate` []. Outputs: `loss`, `early` and `final` [n, k].
 */
function jointStep(
  network: ExitNetwork,
  params: ExitParameters,
  optimiser: optimisers.Optimiser,
  batchSize: number,
  exitWeights: readonly [number, number],
): { readonly program: Program<unknown, unknown>; readonly optimiser: TreeRecord<Tensor> } {
  const { backbone } = network;
  const isTrained = (path: string): boolean =>
    path.startsWith("backbone.") ? backbone.isTrainable(path.slice("backbone.".length)) : !layers.isStatistic(path);
  const only = <Leaf>(flat: Record<string, Leaf>): Record<string, Leaf> =>
    Object.fromEntries(Object.entries(flat).filter(([path]) => isTrained(path)));
  const state = optimiser.init(only(layers.flattenParameters(params)));
  const [, ...sample] = backbone.input.shape;
  const program = trace(
    (given) => {
      const values = given.params as ExitParameters<Value>;
      const { logits, updated } = network.apply(values, given.x, { trains: "all" });
      const each = logits.map((exit, at) =>
        ops.mul(ops.crossEntropy(exit, given.y, { reduction: "none" }), exitWeights[at]!),
      );
      const loss = ops.mean(ops.mul(ops.add(each[0]!, each[1]!), given.weight));
      const trained = only(layers.flattenParameters(values));
      const next = optimiser.update(gradients(loss, trained), given.optimiser as TreeRecord<Value>, trained, {
        learningRate: given.learningRate,
      });
      return {
        loss,
        [EARLY]: logits[0]!,
        [FINAL]: logits[1]!,
        params: layers.mergeParameters(values, next.params, updated) as TreeRecord<Value>,
        optimiser: next.state,
      };
    },
    {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      optimiser: layers.specsOf<TreeRecord<Spec>>(state),
      x: spec(backbone.input.dtype, [batchSize, ...sample]),
      y: spec("int64", [batchSize]),
      weight: spec("float32", [batchSize]),
      learningRate: spec("float32", []),
    },
  );
  return { program, optimiser: state };
}

/** Compiles the step with its state on the device. */
export async function openJointStep(
  device: Device,
  network: ExitNetwork,
  params: ExitParameters,
  optimiser: optimisers.Optimiser,
  batchSize: number,
  exitWeights: readonly [number, number],
): Promise<Runner> {
  const { program, optimiser: state } = jointStep(network, params, optimiser, batchSize, exitWeights);
  return device.compile(program, {
    state: ["params", "optimiser"],
    initial: { params, optimiser: state },
    opset: network.backbone.opset,
  });
}

/** The parameters that a step has reached. */
export async function parametersOf(runner: Runner, like: ExitParameters): Promise<ExitParameters> {
  return layers.unflattenParameters(await runner.readState(), like, "params.");
}
