import {
  type Device,
  generator,
  gradients,
  layers,
  ops,
  optimisers,
  type Runner,
  type Spec,
  schedules,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  training,
  type Value,
} from "@exitkit/core-gpu";
import { type Backbone, type ExitParameters, exitNetwork, heads, lossWeights, trainExits } from "@exitkit/early-exit";
import { augmentedPictures } from "../../data/augment.ts";
import { oneBatch } from "../../data/batches.ts";
import { selectPictures, slicePictures } from "../../data/pictures.ts";
import { type Material, PLACES } from "./network.ts";
import type { Settings } from "./settings.ts";

/** How long a network is trained. */
export interface Budget {
  readonly epochs: number;
  /** Steps after which it ends, within the last of the epochs. */
  readonly steps: number;
}

/** What one training came to. */
export interface Trained {
  /** Share of the test pictures that are answered right. */
  readonly accuracy: number;
  readonly samplesSeen: number;
  readonly steps: number;
  readonly seconds: number;
}

/** Trains the network again and again from given weights, compiled once. */
export interface Trainer {
  train(kept: ArrayLike<number>, budget: Budget, seed: number, params: TreeRecord<Tensor>): Promise<Trained>;
  /** The same with an exit's head trained along, which is thrown away afterwards. */
  trainWithHead(kept: ArrayLike<number>, budget: Budget, seed: number, params: TreeRecord<Tensor>): Promise<Trained>;
  release(): Promise<void>;
}

const TEST_BATCH = 250;

/** The same optimiser for whatever is trained here. */
export function optimiserOf(): optimisers.Optimiser {
  return optimisers.sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4, mask: (_, { shape }) => shape.length > 1 });
}

/** Steps of an epoch over so many pictures. */
export function stepsPerEpoch(pictures: number, { batch }: Settings): number {
  return Math.floor(pictures / batch);
}

/** Opens a trainer of a backbone on the pictures of a data set. */
export async function openTrainer(
  device: Device,
  backbone: Backbone,
  { batch }: Settings,
  material: Material,
): Promise<Trainer> {
  const { train, normalisation, augmentation, peakLearningRate } = material;
  const pictures = (kept: ArrayLike<number>) =>
    augmentedPictures(selectPictures(train, kept), normalisation, augmentation);
  const [, ...sample] = backbone.input.shape;
  const optimiser = optimiserOf();
  const state = optimiser.init(layers.trainable<object>(backbone.params) as TreeRecord<Tensor>);
  const params = layers.specsOf<TreeRecord<Spec>>(backbone.params);
  const step = await device.compile(
    trace(
      (given) => {
        const { logits, updated } = backbone.apply(given.params as TreeRecord<Value>, given.x, true);
        const loss = ops.crossEntropy(logits, given.y);
        const trained = layers.trainable<object>(given.params) as TreeRecord<Value>;
        const next = optimiser.update(gradients(loss, trained), given.optimiser as TreeRecord<Value>, trained, {
          learningRate: given.learningRate,
        });
        const after: TreeRecord<Value> = layers.mergeParameters(
          given.params as TreeRecord<Value>,
          next.params,
          updated,
        );
        return { loss, params: after, optimiser: next.state };
      },
      {
        params,
        optimiser: layers.specsOf<TreeRecord<Spec>>(state),
        x: spec("float32", [batch, ...sample]),
        y: spec("int64", [batch]),
        learningRate: spec("float32", []),
      },
    ),
    { state: ["params", "optimiser"], initial: { params: backbone.params, optimiser: state } },
  );
  const judge = await device.compile(
    trace(
      (given) => ({
        answer: ops.argMax(backbone.apply(given.params as TreeRecord<Value>, given.x, false).logits, { axis: 1 }),
      }),
      {
        params,
        x: spec("float32", ["n", ...sample]),
      },
    ),
    { state: ["params"], initial: { params: backbone.params } },
  );
  const scheduleOf = ({ steps }: Budget) =>
    schedules.oneCycle({ maximum: peakLearningRate, steps: Math.max(2, steps), rise: 0.2 });
  return {
    async train(kept, budget, seed, first) {
      const begun = performance.now();
      await step.writeState({ params: first, optimiser: state } as TreeRecord<Tensor>);
      const { steps } = await training.train({
        runner: step,
        data: pictures(kept),
        batchSize: batch,
        dropLast: true,
        epochs: budget.epochs,
        generator: generator(seed),
        learningRate: scheduleOf(budget),
        onStep: ({ step: done }) => (done + 1 >= budget.steps ? "stop" : undefined),
      });
      const seconds = (performance.now() - begun) / 1000;
      const reached = Object.entries(await step.readState()).filter(([name]) => name.startsWith("params."));
      await judge.writeState(Object.fromEntries(reached));
      return { accuracy: await accuracyOf(judge, material), samplesSeen: steps * batch, steps, seconds };
    },
    async trainWithHead(kept, budget, seed, first) {
      const begun = performance.now();
      const network = exitNetwork(backbone, [{ tap: PLACES.mid, head: heads.linear() }]);
      const whole: ExitParameters = { ...network.init(generator(seed)), backbone: first };
      const { params: reached, steps } = await trainExits(device, network, pictures(kept), {
        trains: "all",
        params: whole,
        batchSize: batch,
        epochs: budget.epochs,
        generator: generator(seed),
        optimiser,
        learningRate: scheduleOf(budget),
        lossWeights: lossWeights.constant([1, 1]),
        onStep: ({ step: done }) => (done + 1 >= budget.steps ? "stop" : undefined),
      });
      const seconds = (performance.now() - begun) / 1000;
      await judge.writeState({ params: reached.backbone });
      return { accuracy: await accuracyOf(judge, material), samplesSeen: steps * batch, steps, seconds };
    },
    async release() {
      await Promise.all([step.release(), judge.release()]);
    },
  };
}

async function accuracyOf(judge: Runner, { test, normalisation }: Material): Promise<number> {
  let right = 0;
  for (let from = 0; from < test.n; from += TEST_BATCH) {
    const { x, y } = oneBatch(slicePictures(test, from, Math.min(test.n, from + TEST_BATCH)), normalisation);
    const { answer } = await judge.run({ x });
    for (let i = 0; i < y.length; i++) if (Number(answer!.data[i]) === y[i]) right++;
  }
  return right / test.n;
}
