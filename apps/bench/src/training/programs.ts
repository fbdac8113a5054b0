import {
  type Device,
  type Dimension,
  type Generator,
  gradients,
  layers,
  ops,
  optimisers,
  type Program,
  type Runner,
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

/** The state of a training, as its runner begins with it, and its specs. */
export function trainingState(params: TreeRecord<Tensor>, optimiser: optimisers.Optimiser) {
  const state = optimiser.init(layers.trainable<object>(params) as TreeRecord<Tensor>);
  const specs = {
    params: layers.specsOf<TreeRecord<Spec>>(params),
    optimiser: layers.specsOf<TreeRecord<Spec>>(state),
  };
  return { initial: { params, optimiser: state }, specs };
}

/** What a step is given beside its batch. */
interface StepInputs {
  readonly params: TreeRecord<Value>;
  readonly optimiser: TreeRecord<Value>;
  readonly learningRate: Value;
}

/** How a step goes from its loss to the next state. */
interface StepOptions {
  /** The batch norms' new running statistics, under their paths in the parameters. Default none. */
  readonly updated?: object;
  /** The largest common norm of all gradients. Default: as they are. */
  readonly clip?: number;
}

/** The loss of a step and the state after it: the loss's gradients, the optimiser's update. */
export function stepOf(
  loss: Value,
  { params, optimiser: state, learningRate }: StepInputs,
  optimiser: optimisers.Optimiser,
  { updated = {}, clip }: StepOptions = {},
) {
  const trained = layers.trainable<object>(params) as TreeRecord<Value>;
  const own = gradients(loss, trained);
  const used = clip === undefined ? own : optimisers.clipByGlobalNorm(own, clip).gradients;
  const next = optimiser.update(used, state, trained, { learningRate });
  return { loss, params: layers.mergeParameters(params, next.params, updated), optimiser: next.state };
}

/** The parameters in a training runner's state, by path. */
export async function weightsOf(runner: Runner): Promise<Readonly<Record<string, Tensor>>> {
  const own = Object.entries(await runner.readState()).filter(([name]) => name.startsWith("params."));
  return Object.fromEntries(own.map(([name, value]) => [name.slice("params.".length), value]));
}

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
    ({ x, y, ...given }) => {
      const { logits, updated } = network.apply(given.params, x, true);
      return {
        ...stepOf(ops.crossEntropy(logits, y), given, optimiser, { updated }),
        accuracy: accuracyOf(logits, y),
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
  const { initial, specs } = trainingState(params, optimiser);
  const begun = performance.now();
  const program = trainingProgram(network, batch, optimiser, specs);
  const runner = await device.compile(program, { state: STATE, initial });
  return { runner, params, specs, nodes: program.nodes.length, compileSeconds: (performance.now() - begun) / 1000 };
}

function accuracyOf(logits: Value, y: Value): Value {
  return ops.mean(ops.cast(ops.equal(ops.argMax(logits, { axis: 1 }), y), "float32"));
}
