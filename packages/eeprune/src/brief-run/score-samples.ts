import {
  type Device,
  layers,
  ops,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  training,
  type Value,
} from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";
import { type ScoreColumns, scoreColumns } from "../columns/score-columns.ts";
import { EARLY, FINAL } from "./joint-step.ts";

/** What a network with one early exit says about every sample, as it answers without training. */
export interface Scored {
  readonly early: ScoreColumns;
  readonly final: ScoreColumns;
  /** `[n, d]`: features of the tap that was asked for, averaged over their places; null where none was. */
  readonly features: Tensor<"float32"> | null;
}

/** Samples in one run of the scoring. */
const BATCH = 250;

/** Scores all samples in order, with batch norm's running statistics. The parameters become part of the compiled graph. */
export async function scoreSamples(
  device: Device,
  network: ExitNetwork,
  params: ExitParameters,
  data: training.Dataset,
  labels: Int32Array,
  featuresTap: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Scored> {
  const { backbone } = network;
  const [, ...sample] = backbone.input.shape;
  const program = trace(
    (given) => {
      const values = given.params as ExitParameters<Value>;
      const { logits } = network.apply(values, given.x, { trains: "nothing" });
      if (featuresTap === undefined) return { [EARLY]: logits[0]!, [FINAL]: logits[1]! };
      const tap = backbone.apply(values.backbone, given.x, false).taps[featuresTap]!;
      const features = tap.shape.length === 4 ? ops.flatten(ops.globalAveragePool(tap)) : ops.flatten(tap);
      return { [EARLY]: logits[0]!, [FINAL]: logits[1]!, features };
    },
    { params: layers.specsOf<TreeRecord<Spec>>(params), x: spec(backbone.input.dtype, ["n", ...sample]) },
  );
  const runner = await device.compile(program, { constants: { params }, opset: backbone.opset });
  try {
    const outputs = await training.predict({
      runner,
      data: onlyInputs(data),
      batchSize: BATCH,
      ...(signal === undefined ? {} : { signal }),
    });
    return {
      early: scoreColumns(outputs[EARLY]!, labels),
      final: scoreColumns(outputs[FINAL]!, labels),
      features: (outputs.features as Tensor<"float32"> | undefined) ?? null,
    };
  } finally {
    await runner.release();
  }
}

function onlyInputs(data: training.Dataset): training.Dataset {
  return {
    size: data.size,
    async batch(indices, random) {
      const { x } = await data.batch(indices, random);
      return { x: x! };
    },
  };
}
