import { addTaps, attachModel, type Model, onnx, ops, programToModel, spec, trace } from "@exitkit/core-gpu";
import { type FeatureMap, features } from "../network/features.ts";
import { type Network, onlyOutputs } from "../network/network.ts";

/**
 * Names of one exit's sums over a batch in the summing model, taken about m, the mean of the batch's features: distances and
 * covariances are small differences of large sums.
 */
export interface SummingOutputs {
  /** m, [1, d]. */
  readonly mean: string;
  /** Σ_{i∈S_k} (x_i − m), [k, d]. */
  readonly sums: string;
  /** ‖x_i − m‖², [n]. */
  readonly squares: string;
  /** Σ_i (x_i − m)(x_i − m)ᵀ, [d, d]; null where it was not asked for. */
  readonly gram: string | null;
}

/** The network with the sums of a batch as its only outputs, and the classes [k, n], one-hot, as a second input. */
export function summingModel(
  network: Network,
  taps: readonly string[],
  maps: readonly FeatureMap[],
  classes: number,
  gram: boolean,
): { model: Model; oneHot: string; outputs: readonly SummingOutputs[] } {
  const oneHot = "e2cm/one-hot";
  let model: Model | undefined;
  const outputs: SummingOutputs[] = [];
  maps.forEach((map, index) => {
    const program = trace(
      ({ x, classOf }) => {
        const made = features(x, map);
        const mean = ops.mean(made, { axes: [0], keepDimensions: true });
        const centred = ops.sub(made, mean);
        const sums = {
          mean,
          sums: ops.matmul(classOf, centred),
          squares: ops.sumSquares(centred, { axes: [1], keepDimensions: false }),
        };
        return gram ? { ...sums, gram: ops.matmul(ops.transpose(centred, [1, 0]), centred) } : sums;
      },
      { x: spec("float32", ["n", ...map.shape]), classOf: spec("float32", [classes, "n"]) },
    );
    const part = programToModel(program, { opset: network.opset });
    model ??= withInput(network.model, part, "classOf", oneHot);
    const attached = attachModel(model, part, {
      prefix: `e2cm/sums${index}`,
      inputs: { x: taps[index]!, classOf: oneHot },
    });
    model = attached.model;
    const { mean, sums, squares, gram: gramName = null } = attached.outputs as Partial<Record<string, string>>;
    outputs.push({ mean: mean!, sums: sums!, squares: squares!, gram: gramName });
  });
  const names = outputs.flatMap((own) => Object.values(own).filter((name): name is string => name !== null));
  return { model: onlyOutputs(addTaps(model!, names), names), oneHot, outputs };
}

/** The model with one input more, declared as the part declares it. */
function withInput(model: Model, part: Model, of: string, name: string): Model {
  const graph = model.proto.graph!;
  const declared = part.proto.graph!.input.find((input) => input.name === of)!;
  const input = [...graph.input, onnx.changed(declared, { name })];
  return { proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { input }) }) };
}
