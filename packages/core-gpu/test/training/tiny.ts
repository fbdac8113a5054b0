// A tiny network and its data, for tests of the training loop; also run by processes of their own.
import {
  type Device,
  type Generator,
  generator,
  gradients,
  layers,
  ops,
  optimisers,
  spec,
  tensor,
  trace,
  training,
} from "../../src/index.ts";

export const size = 22;

/** 22 points of 3 classes, 4 features. */
export function points(augment?: training.TensorDatasetOptions["augment"], seed = 5): training.Dataset {
  const random = generator(seed);
  const labels = Array.from({ length: size }, (_, index) => index % 3);
  const x = tensor(
    "float32",
    [size, 4],
    labels.flatMap((label) => [0, 1, 2, 3].map((at) => (at === label ? 1 : 0) + 0.3 * random.normal())),
  );
  return training.tensorDataset({ x, y: tensor("int64", [size], labels) }, augment === undefined ? {} : { augment });
}

/** Noise on the features, so that every random number shows in the parameters. */
export function jitter(batch: training.Batch, random: Generator): training.Batch {
  const x = batch.x as ReturnType<typeof tensor<"float32">>;
  return { ...batch, x: { ...x, data: x.data.map((value) => value + 0.1 * random.normal()) } };
}

/** Two linear layers with a batch norm between them, trained by Adam or another; gives loss, logits and losses of samples. */
function tinyStep(optimiser: optimisers.Optimiser) {
  const random = generator(7);
  const params = {
    first: layers.initLinear(random, { in: 4, out: 6 }),
    norm: layers.initBatchNorm(6),
    last: layers.initLinear(random, { in: 6, out: 3 }),
  };
  const state = optimiser.init(layers.trainable(params));
  const program = trace(
    (inputs) => {
      const { y: normal, updated } = layers.batchNorm(
        inputs.params.norm,
        layers.linear(inputs.params.first, inputs.x),
        { training: true },
      );
      const logits = layers.linear(inputs.params.last, ops.relu(normal));
      const losses = ops.crossEntropy(logits, inputs.y, { reduction: "none" });
      const loss = ops.mean(losses);
      const trained = layers.trainable(inputs.params);
      const next = optimiser.update(gradients(loss, trained), inputs.optimiser, trained, {
        learningRate: inputs.learningRate,
      });
      return {
        loss,
        logits,
        losses,
        params: layers.mergeParameters(inputs.params, next.params, { norm: updated }),
        optimiser: next.state,
      };
    },
    {
      params: layers.specsOf(params),
      optimiser: layers.specsOf(state),
      x: spec("float32", ["n", 4]),
      y: spec("int64", ["n"]),
      learningRate: spec("float32", []),
    },
  );
  return { program, initial: { params, optimiser: state } };
}

export function compileTiny(device: Device, optimiser = optimisers.adam()) {
  const { program, initial } = tinyStep(optimiser);
  return device.compile(program, { state: ["params", "optimiser"], initial });
}

/**
 * A line through the points by plain gradient descent. Its loss has a term of all pairs of samples, which does not train but
 * grows with the square of the batch.
 */
export function compilePairs(device: Device) {
  const program = trace(
    ({ params, x, y }) => {
      const error = ops.mean(
        ops.square(ops.sub(ops.linear(x, params.weight), ops.cast(ops.unsqueeze(y, 1), "float32"))),
      );
      const pairs = ops.mean(ops.matmul(x, ops.transpose(x, [1, 0])));
      const gradient = gradients(error, params.weight);
      return {
        loss: ops.add(error, ops.mul(pairs, 1e-3)),
        params: { weight: ops.sub(params.weight, ops.mul(gradient, 0.05)) },
      };
    },
    { params: { weight: spec("float32", [1, 4]) }, x: spec("float32", ["n", 4]), y: spec("int64", ["n"]) },
  );
  return device.compile(program, { state: ["params"], initial: { params: { weight: tensor("float32", [1, 4]) } } });
}
