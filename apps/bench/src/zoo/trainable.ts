import type { Dimension, Generator, Spec, Tensor, TreeRecord, Value, ValuesOf } from "@exitkit/core-gpu";

/** What a network computes for one batch. */
interface Applied {
  /** [m, k]: one row for each label. */
  readonly logits: Value;
  /** The next running statistics, under their paths in the parameters; nothing for a network without batch norm. */
  readonly updated: TreeRecord<Value>;
}

/** A network to train: its first parameters, and what it computes from them. Plain functions, no state. */
export interface TrainableNetwork {
  /** "resnet20", "resnet56", "vit" or "decoder". */
  readonly name: string;
  /** What the rows of a batch are called: "pictures" or "sequences". */
  readonly unit: string;
  /** Labels are 0 … classes − 1. */
  readonly classes: number;
  /** Multiply-accumulates of the forward pass for one row: convolutions and matrix products, attention in full. */
  readonly macs: number;
  /** First parameters, running statistics among them. */
  init(random: Generator): TreeRecord<Tensor>;
  /** One batch: `x` the inputs, `y` int64 the labels, one for each row of the logits. */
  inputs(n: Dimension): { readonly x: Spec; readonly y: Spec };
  /** The network. `training`: batch norms use the batch's own mean and variance. */
  apply(params: TreeRecord<Value>, x: Value, training: boolean): Applied;
}

/** A network whose functions know the structure of its own parameters. */
export function defineNetwork<P extends object>(
  network: Pick<TrainableNetwork, "name" | "unit" | "classes" | "macs" | "inputs"> & {
    readonly init: (random: Generator) => P;
    readonly apply: (
      params: ValuesOf<P>,
      x: Value,
      training: boolean,
    ) => { readonly logits: Value; readonly updated: object };
  },
): TrainableNetwork {
  return network as unknown as TrainableNetwork;
}
