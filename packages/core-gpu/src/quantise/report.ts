import type { Device } from "../device/device.ts";
import { indexModel } from "../onnx/graph.ts";
import { type Model, writeModel } from "../onnx/model.ts";
import { addTaps } from "../onnx/taps.ts";
import type { Tensor } from "../tensor.ts";
import type { Feeds } from "./calibrate.ts";
import { titleOf } from "./graph-parts.ts";
import type { Parameters } from "./parameters.ts";
import type { QuantisationPlan } from "./plan.ts";

/** What became of one node that computes. */
export interface LayerReport {
  /** The node's name, or its first output where it has none. */
  readonly node: string;
  readonly op: string;
  /** The tensor it makes, a folded activation included. */
  readonly tensor: string;
  readonly bits: 8 | 32;
  /** Why it stayed in float, where it did. */
  readonly reason?: string;
  /** Scale and zero point of the result, where that is rounded. */
  readonly scale?: number;
  readonly zeroPoint?: number;
  /** ‖rounded − float‖ ÷ ‖float‖ of the tensor, all that came before it rounded too; 0 is no loss. */
  readonly error?: number;
}

/** What became of an output. */
export interface OutputReport {
  readonly name: string;
  /** ‖quantised − float‖ ÷ ‖float‖. */
  readonly error: number;
  /** Share of the rows [n, k] whose greatest value stands in the same column; for outputs of rank 2. */
  readonly agreement?: number;
  /** ‖difference‖ ÷ ‖float‖ between the network as the runtime fuses it and as it is written. */
  readonly fusion: number;
}

/** What quantising cost, seen on the first calibration batch. Plain data. */
export interface QuantisationReport {
  /** Bits of the weights. */
  readonly weightBits: 7 | 8;
  /** Whether products of 8 bits saturate on the device, so that weights need 7; `null` where it was not asked. */
  readonly saturates: boolean | null;
  /** Bytes of the model file before and after. */
  readonly bytes: { readonly before: number; readonly after: number };
  readonly layers: readonly LayerReport[];
  readonly outputs: readonly OutputReport[];
}

/**
 * Runs the network in float and rounded on a batch and compares.
 *
 * @param tapped The quantised network in which every tensor of the plan keeps its name.
 */
export async function compare(
  device: Device,
  float: Model,
  quantised: Model,
  tapped: Model,
  plan: QuantisationPlan,
  parameters: ReadonlyMap<string, Parameters>,
  feeds: Feeds,
): Promise<Pick<QuantisationReport, "layers" | "outputs" | "bytes">> {
  const { graph, outputs } = indexModel("core-gpu.quantiseModel", float);
  const tensors = plan.nodes.filter(({ kind }) => kind !== "moved").map(({ output }) => output);
  const run = async (model: Model, names: readonly string[], optimization: "all" | "none" = "all") => {
    const session = await device.load(addTaps(model, names), { optimization });
    try {
      return await session.run(feeds);
    } finally {
      await session.release();
    }
  };
  const expected = await run(float, tensors);
  const inner = await run(tapped, tensors);
  const fused = await run(quantised, []);
  const written = await run(quantised, [], "none");
  const done = plan.nodes
    .filter(({ kind }) => kind !== "moved")
    .map(({ at, output }): [number, LayerReport] => [
      at,
      {
        node: titleOf(graph.node[at]!),
        op: graph.node[at]!.opType,
        tensor: output,
        bits: 8,
        ...(plan.rounded.has(output) ? parameters.get(output)! : {}),
        error: distance(inner[output]!, expected[output]!),
      },
    ]);
  const left = plan.left.map(({ at, reason }): [number, LayerReport] => {
    const node = graph.node[at]!;
    return [at, { node: titleOf(node), op: node.opType, tensor: node.output[0]!, bits: 32, reason }];
  });
  return {
    bytes: { before: writeModel(float).byteLength, after: writeModel(quantised).byteLength },
    layers: [...done, ...left].sort(([a], [b]) => a - b).map(([, layer]) => layer),
    outputs: outputs
      .filter((name) => expected[name]!.dtype === "float32")
      .map((name) => ({
        name,
        error: distance(fused[name]!, expected[name]!),
        ...(expected[name]!.shape.length === 2 ? { agreement: agreement(fused[name]!, expected[name]!) } : {}),
        fusion: distance(written[name]!, fused[name]!),
      })),
  };
}

function distance(value: Tensor, expected: Tensor): number {
  let difference = 0;
  let size = 0;
  const other = value.data as Float32Array;
  (expected.data as Float32Array).forEach((number, at) => {
    difference += (other[at]! - number) ** 2;
    size += number ** 2;
  });
  return difference === 0 ? 0 : Math.sqrt(difference / size);
}

function agreement(value: Tensor, expected: Tensor): number {
  const [n, k] = expected.shape as [number, number];
  const best = ({ data }: Tensor, row: number): number => {
    let column = 0;
    for (let at = 1; at < k; at++) if (data[row * k + at]! > data[row * k + column]!) column = at;
    return column;
  };
  let same = 0;
  for (let row = 0; row < n; row++) if (best(value, row) === best(expected, row)) same++;
  return n === 0 ? 1 : same / n;
}
