import {
  type Device,
  type Generator,
  generator,
  InputError,
  layers,
  optimisers,
  type Spec,
  type Tensor,
  tensor,
} from "@exitkit/core-gpu";
import { openTrainingStep } from "../../training/programs.ts";
import { trainableResnet } from "../../zoo/train-resnet.ts";
import { trainableDecoder, trainableVit } from "../../zoo/train-transformer.ts";
import type { TrainableNetwork } from "../../zoo/trainable.ts";

/** The networks whose training step is timed, and the rows of a batch. */
export const STEPS = {
  resnet20: { make: () => trainableResnet(20), batch: 128 },
  resnet56: { make: () => trainableResnet(56), batch: 128 },
  vit: { make: trainableVit, batch: 64 },
  decoder: { make: trainableDecoder, batch: 4 },
} as const;

/** A network of {@link STEPS}. */
export type StepModel = keyof typeof STEPS;

/** FLOPs of a training step for each multiply-accumulate forward: two forward, and twice that for the two gradients. */
const FLOPS_PER_MAC = 6;

/** A training step that can be run again and again, always on the same random batch. */
export interface StepRunner {
  readonly network: TrainableNetwork;
  readonly batch: number;
  /** Parameters that are trained. */
  readonly parameters: number;
  /** Nodes of the step's program. */
  readonly nodes: number;
  /** Of one step. */
  readonly flops: number;
  /** From the network's function to a program ready to run: tracing, gradients, compilation. */
  readonly compileSeconds: number;
  /** Runs one step and returns its loss. */
  step(): Promise<number>;
  release(): Promise<void>;
}

/**
 * Compiles the training step of a network: SGD with Nesterov momentum for the ResNets, AdamW for the transformers, weight
 * decay on matrices and filters only.
 *
 * @param seed Of the parameters and of the batch.
 * @throws InputError on an unknown model or a batch that is not a whole number ≥ 1.
 */
export async function openStep(
  device: Device,
  model: StepModel,
  batch: number = STEPS[model]?.batch ?? 1,
  seed = 1,
): Promise<StepRunner> {
  const caller = "bench.openStep";
  if (!Object.hasOwn(STEPS, model)) {
    throw new InputError(caller, `the model must be one of ${Object.keys(STEPS).join(", ")}`, `"${model}"`);
  }
  if (!Number.isSafeInteger(batch) || batch < 1) {
    throw new InputError(caller, "the batch must be a whole number ≥ 1", String(batch));
  }
  const network = STEPS[model].make();
  const random = generator(seed);
  const { optimiser, learningRate } = optimiserOf(model);
  const opened = await openTrainingStep(device, network, batch, optimiser, random);
  const { runner, params, nodes, compileSeconds } = opened;
  const feeds = { ...exampleBatch(network, batch, random), learningRate: tensor("float32", [], [learningRate]) };
  return {
    network,
    batch,
    parameters: layers.countParameters(params),
    nodes,
    flops: FLOPS_PER_MAC * network.macs * batch,
    compileSeconds,
    step: async () => (await runner.run(feeds, { outputs: ["loss"] })).loss!.data[0] as number,
    release: () => runner.release(),
  };
}

/** What each network is trained with, and its learning rate. */
export function optimiserOf(model: string): {
  readonly optimiser: optimisers.Optimiser;
  readonly learningRate: number;
} {
  const mask: optimisers.Mask = (_, { shape }) => shape.length > 1;
  return model.startsWith("resnet")
    ? { optimiser: optimisers.sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4, mask }), learningRate: 0.1 }
    : { optimiser: optimisers.adamW({ weightDecay: 0.05, mask }), learningRate: 1e-3 };
}

/** Normal numbers as pictures, uniform ones as tokens and labels. */
function exampleBatch(network: TrainableNetwork, batch: number, random: Generator): Record<string, Tensor> {
  const example = ({ dtype, shape: dimensions }: Spec): Tensor => {
    const shape = dimensions.map(Number);
    const length = shape.reduce((size, one) => size * one, 1);
    if (dtype === "float32")
      return tensor(
        "float32",
        shape,
        Float32Array.from({ length }, () => random.normal()),
      );
    const whole = BigInt64Array.from({ length }, () => BigInt(random.integer(network.classes)));
    return tensor("int64", shape, whole);
  };
  const { x, y } = network.inputs(batch);
  return { x: example(x), y: example(y) };
}
