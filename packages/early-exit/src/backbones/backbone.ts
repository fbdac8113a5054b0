import type { Model, Spec, Tensor, TreeRecord, Value } from "@exitkit/core-gpu";

/** What a backbone computes for one batch. */
export interface BackboneResult {
  /** For each tap, its features, [n, ...]. */
  readonly taps: Readonly<Record<string, Value>>;
  /** `[n, k]`; `[n, u, k]` or `[n · u, k]` where each sample takes u decisions. */
  readonly logits: Value;
  /** In training, the next running statistics, under their paths in the parameters. */
  readonly updated: TreeRecord<Value>;
}

/**
 * A classifier that exits are put on: plain functions of its parameters. `programBackbone` makes one of a TypeScript
 * network, `importBackbone` of an ONNX file.
 */
export interface Backbone {
  /** Its parameters, running statistics among them: first or trained ones. */
  readonly params: TreeRecord<Tensor>;
  /** Its one input, [n, ...]; all but the first dimension are numbers. */
  readonly input: Spec;
  /**
   * Decisions that each sample takes, u: tokens of a sequence. Logits and labels have u rows a sample then, in order. Left out: 1.
   */
  readonly units?: number;
  /** Number of classes, k. */
  readonly classes: number;
  /** Where exits may read: for each tap its features' shape for one sample, without the batch. In the order given. */
  readonly taps: Readonly<Record<string, readonly number[]>>;
  /** Name of the tensor of the logits in {@link Backbone.toModel}'s graph. */
  readonly output: string;
  /** Version of the ONNX operator set that its models and training steps are written for. */
  readonly opset: number;
  /** Whether a parameter, by its path, is changed by gradients: running statistics are not. */
  isTrainable(path: string): boolean;
  /** Taps and logits of a batch; `training` says how batch normalisation works. */
  apply(params: TreeRecord<Value>, x: Value, training: boolean): BackboneResult;
  /** The network with these parameters as an ONNX model: one input, the logits as output, the taps' tensors by name. */
  toModel(params: TreeRecord<Tensor>): Model;
}
