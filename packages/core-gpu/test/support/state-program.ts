import { adamW } from "../../src/optimisers/adam.ts";
import { gradients } from "../../src/program/gradients.ts";
import * as ops from "../../src/program/ops/index.ts";
import { spec } from "../../src/program/spec.ts";
import { trace } from "../../src/program/trace.ts";
import { tensor } from "../../src/tensor.ts";

const optimise = adamW({ weightDecay: 0.1 });
const params = {
  weight: tensor("float32", [2, 3], [0.5, -1, 0.25, 1, 0.75, -0.5]),
  bias: tensor("float32", [2], [0.1, -0.2]),
};

/** First state of {@link stateProgram}: floats of several shapes, an int64 that counts, a scalar that never changes. */
export function initialState() {
  return {
    params: { ...params, scale: tensor("float32", [], [1.5]), steps: tensor("int64", [], [0n]) },
    optimiser: optimise.init(params),
  };
}

/** A step of training with Adam, with results of each sample. */
export function stateProgram() {
  const { params, optimiser } = initialState();
  return trace(
    ({ params, optimiser, x, y, learningRate }) => {
      const { weight, bias, scale, steps } = params;
      const outputs = ops.mul(ops.add(ops.matmul(x, ops.transpose(weight, [1, 0])), bias), scale);
      const losses = ops.sum(ops.square(ops.sub(outputs, y)), { axes: 1 });
      const loss = ops.sum(losses);
      const trained = { weight, bias };
      const next = optimise.update(gradients(loss, trained), optimiser, trained, { learningRate });
      return {
        loss,
        losses,
        params: { ...next.params, scale, steps: ops.add(steps, 1) },
        optimiser: next.state,
      };
    },
    {
      params,
      optimiser,
      x: spec("float32", ["n", 3]),
      y: spec("float32", ["n", 2]),
      learningRate: spec("float32", []),
    },
  );
}
