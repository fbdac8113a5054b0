import {
  type Device,
  type Dimension,
  type Generator,
  gradients,
  layers,
  ops,
  type optimisers,
  type Program,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { TrainableNetwork } from "../zoo/trainable.ts";

/** What stays with the device between the steps of a training program. */
export const STATE = ["params", "optimiser"] as const;

/**
 * One training step as a program: the loss of a batch (cross-entropy), its gradients, the optimiser's update and the batch
 * norms' new running statistics.
 *
 * Inputs `params`, `optimiser` (state), `x`, `y` int64 and `learningRate` []; outputs the next state, `loss` [] and
 * `accuracy` [], the share of the rows answered right before the update.
 */
export function trainingProgram(
  network: TrainableNetwork,
  batch: number,
  optimiser: optimisers.Optimiser,
  specs: { readonly params: TreeRecord<Spec>; readonly optimiser: TreeRecord<Spec> },
): Program<unknown, unknown> {
  return trace(
    ({ params, optimiser: state, x, y, learningRate }) => {
      const { logits, updated } = network.apply(params, x, true);
      const loss = ops.crossEntropy(logits, y);
      const trained = layers.trainable<object>(params) as TreeRecord<Value>;
      const next = optimiser.update(gradients(loss, trained), state, trained, { learningRate });
      return {
        loss,
        accuracy: accuracyOf(logits, y),
        params: layers.mergeParameters(params, next.params, updated),
        optimiser: next.state,
      };
    },
    { ...specs, ...network.inputs(batch), learningRate: spec("float32", []) },
  );
}

/** The network as it answers without training: outputs `loss` [], the mean over the batch, and `accuracy` [], the share that is right. */
export function evaluationProgram(
  network: TrainableNetwork,
  batch: Dimension,
  params: TreeRecord<Spec>,
): Program<unknown, unknown> {
  return trace(
    ({ params, x, y }) => {
      const { logits } = network.apply(params, x, false);
      return { loss: ops.crossEntropy(logits, y), accuracy: accuracyOf(logits, y) };
    },
    { params, ...network.inputs(batch) },
  );
}

/** The training step of a network, compiled, its first parameters with the device. */
export async function openTrainingStep(
  device: Device,
  network: TrainableNetwork,
  batch: number,
  optimiser: optimisers.Optimiser,
  random: Generator,
) {
  const params = network.init(random);
  const state = optimiser.init(layers.trainable<object>(params) as TreeRecord<Tensor>);
  const begun = performance.now();
  const specs = {
    params: layers.specsOf<TreeRecord<Spec>>(params),
    optimiser: layers.specsOf<TreeRecord<Spec>>(state),
  };
  const program = trainingProgram(network, batch, optimiser, specs);
  const runner = await device.compile(program, { state: STATE, initial: { params, optimiser: state } });
  return { runner, params, specs, nodes: program.nodes.length, compileSeconds: (performance.now() - begun) / 1000 };
}

function accuracyOf(logits: Value, y: Value): Value {
  return ops.mean(ops.cast(ops.equal(ops.argMax(logits, { axis: 1 }), y), "float32"));
}
