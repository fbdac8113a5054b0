import {
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
import type { ExitNetwork, ExitParameters, Trains } from "./exit-network.ts";
import { type Distillation, exitsLoss } from "./exits-loss.ts";

/** What a training step is made of. */
export interface StepPlan {
  readonly network: ExitNetwork;
  readonly params: ExitParameters;
  readonly trains: Exclude<Trains, "nothing">;
  readonly batchSize: number;
  readonly optimiser: optimisers.Optimiser;
  readonly distillation: Distillation | undefined;
  /** Parameters of the backbone whose last exit all exits learn from; undefined: early exits learn from the last. */
  readonly teacher?: TreeRecord<Tensor> | undefined;
}

/** A training step, ready to be compiled. */
export interface TrainingStep {
  readonly program: Program<unknown, unknown>;
  /** Names of its inputs that stay with the device. */
  readonly state: readonly string[];
  readonly initial: TreeRecord<Tensor>;
  /** The frozen parameters. */
  readonly constants: TreeRecord<Tensor>;
}

/**
 * One training step as a program: the loss of all exits, its gradients, the optimiser's update, and the running statistics
 * of what is trained. Inputs beside the parameters and the optimiser's state: `x`, `y` int64, `learningRate` [] and
 * `weights` [e]. Where each sample takes u > 1 decisions, `y` is [n, u]. Outputs beside the next state: `loss` [], `losses.j` [] (cross-entropy of exit j) and `accuracies.j` []
 * (the share of the batch that exit j answers right before the update).
 */
export function trainingStep(plan: StepPlan): TrainingStep {
  const { network, params, trains, batchSize, optimiser, distillation, teacher } = plan;
  const { backbone } = network;
  const { units = 1 } = backbone;
  const isTrained = (path: string) =>
    path.startsWith("exits.")
      ? !layers.isStatistic(path)
      : trains === "all" && backbone.isTrainable(path.slice("backbone.".length));
  const only = <Leaf>(flat: Record<string, Leaf>): Record<string, Leaf> =>
    Object.fromEntries(Object.entries(flat).filter(([path]) => isTrained(path)));
  const state = optimiser.init(only(layers.flattenParameters(params)));
  const [, ...sample] = backbone.input.shape;
  const program = trace(
    (given) => {
      const values = given.params as ExitParameters<Value>;
      const { logits, updated } = network.apply(values, given.x, { trains });
      const y = units === 1 ? given.y : ops.reshape(given.y, [batchSize * units]);
      const { loss, losses } = exitsLoss(logits, y, {
        weights: given.weights,
        ...(distillation === undefined ? {} : { distillation }),
        ...(teacher === undefined
          ? {}
          : { teacher: taughtBy(network, { ...values, backbone: given.teacher! }, given.x) }),
      });
      const trained = only(layers.flattenParameters(values));
      const next = optimiser.update(gradients(loss, trained), given.optimiser as TreeRecord<Value>, trained, {
        learningRate: given.learningRate,
      });
      const merged = layers.mergeParameters(values, next.params, updated);
      const after: TreeRecord<Value> = trains === "all" ? merged : { exits: merged.exits };
      return {
        loss,
        losses,
        accuracies: logits.map((exit) => accuracyOf(exit, y)),
        params: after,
        optimiser: next.state,
      };
    },
    {
      params: layers.specsOf<TreeRecord<Spec>>(params),
      optimiser: layers.specsOf<TreeRecord<Spec>>(state),
      x: spec(backbone.input.dtype, [batchSize, ...sample]),
      y: spec("int64", units === 1 ? [batchSize] : [batchSize, units]),
      weights: spec("float32", [network.exits.length + 1]),
      learningRate: spec("float32", []),
      ...(teacher === undefined ? {} : { teacher: layers.specsOf<TreeRecord<Spec>>(teacher) }),
    },
  );
  const taught = teacher === undefined ? {} : { teacher };
  return trains === "all"
    ? { program, state: ["params", "optimiser"], initial: { params, optimiser: state }, constants: taught }
    : {
        program,
        state: ["params.exits", "optimiser"],
        initial: { params: { exits: params.exits }, optimiser: state },
        constants: { params: { backbone: params.backbone }, ...taught },
      };
}

/** Logits of a network's last exit, as it answers: with running statistics. */
function taughtBy(network: ExitNetwork, params: ExitParameters<Value>, x: Value): Value {
  return network.apply(params, x, { trains: "nothing" }).logits.at(-1)!;
}

function accuracyOf(logits: Value, y: Value): Value {
  return ops.mean(ops.cast(ops.equal(ops.argMax(logits, { axis: 1 }), y), "float32"));
}
