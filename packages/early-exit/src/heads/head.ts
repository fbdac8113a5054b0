import { type Generator, InputError, layers, type Tensor, type TreeRecord, type Value } from "@exitkit/core-gpu";

/** What a head gives for one batch. */
export interface HeadResult {
  /** `[n, k]`; `[n, t, k]` of a head that answers every token. */
  readonly logits: Value;
  /** In training, the next running statistics, under their paths in the head's parameters. */
  readonly updated: TreeRecord<Value>;
}

/** What turns the features of a tap into logits: functions of its parameters. */
export interface Head {
  /** What it is, for people. */
  readonly name: string;
  /**
   * First parameters.
   *
   * @param shape Of one sample's features.
   * @param classes k
   * @throws InputError where the head cannot read features of that shape.
   */
  init(random: Generator, shape: readonly number[], classes: number): TreeRecord<Tensor>;
  /** Logits of features [n, ...shape]; `training` says how batch normalisation works. */
  apply(params: TreeRecord<Value>, features: Value, training: boolean): HeadResult;
}

/** Parameters of the linear layer that every head ends in. */
export type LinearLayer<Leaf = Tensor> = Required<layers.LinearParameters<Leaf>>;

/** The linear layer of a head over d features and what `extra` adds to them. */
export function initLinear(random: Generator, d: number, classes: number): LinearLayer {
  return layers.initLinear(random, { in: d, out: classes });
}

/** @throws InputError naming the shapes that the head reads. */
export function refuseShape(caller: string, wanted: string, shape: readonly number[], fix?: string): never {
  throw new InputError(caller, `features of one sample must be ${wanted}`, `[${shape.join(", ")}]`, fix);
}
