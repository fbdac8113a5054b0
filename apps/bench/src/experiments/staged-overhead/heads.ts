import {
  attachModel,
  countMacs,
  type Device,
  type Generator,
  macsUpTo,
  ops,
  probeShapes,
  programToModel,
  spec,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import {
  confidenceOf,
  defineExits,
  type Exit,
  type ExitCosts,
  type ExitModel,
  exitCosts,
  predictionOf,
} from "@exitkit/early-exit";
import type { Backbone } from "../../zoo/backbone.ts";
import { heNormal } from "../../zoo/wide-resnet.ts";

const CLASSES = 10;

/**
 * Puts a cheap exit at both of a backbone's places for them: global average pool and a linear layer with
 * seeded random weights, its confidence the largest probability. Good for timing only; the answers mean nothing.
 *
 * @returns The network with its exits, the last the full network.
 */
export function withCheapExits(backbone: Backbone, random: Generator): ExitModel {
  let model = backbone.model;
  const exits: Exit[] = backbone.exits.map(({ tensor: tap, channels }, index) => {
    const weight = heNormal(random, [CLASSES, channels]);
    const head = programToModel(
      trace(
        ({ features }) => {
          const pooled = ops.flatten(ops.globalAveragePool(features));
          const scores = ops.linear(pooled, weight, tensor("float32", [CLASSES]));
          return { confidence: confidenceOf(scores, "maxProbability"), prediction: predictionOf(scores) };
        },
        { features: spec("float32", ["n", channels, "h", "w"]) },
      ),
    );
    const name = `exit${index + 1}`;
    const attached = attachModel(model, head, { prefix: name, inputs: { features: tap } });
    model = attached.model;
    return { name, tap, confidence: attached.outputs.confidence!, prediction: attached.outputs.prediction! };
  });
  const answer = programToModel(
    trace(({ scores }) => ({ confidence: confidenceOf(scores, "maxProbability"), prediction: predictionOf(scores) }), {
      scores: spec("float32", ["n", CLASSES]),
    }),
  );
  const attached = attachModel(model, answer, { prefix: "full", inputs: { scores: backbone.output } });
  exits.push({
    name: "full",
    tap: backbone.output,
    confidence: attached.outputs.confidence!,
    prediction: attached.outputs.prediction!,
    scores: backbone.output,
  });
  return defineExits(attached.model, exits);
}

/** MACs a sample pays at each exit: the backbone up to its tap and every head visited. */
export async function costsOf(device: Device, backbone: Backbone, exitModel: ExitModel): Promise<ExitCosts> {
  const { model } = exitModel;
  const count = countMacs(model, await probeShapes(device, model));
  const taps = [...backbone.exits.map(({ tensor }) => tensor), backbone.output];
  const upTo = (name: string) => macsUpTo(model, count, [name]);
  return exitCosts({
    backbone: taps.map(upTo),
    overheads: exitModel.exits.slice(0, -1).map((exit, index) => upTo(exit.confidence) - upTo(taps[index]!)),
  });
}
