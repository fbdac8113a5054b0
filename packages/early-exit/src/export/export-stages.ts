import { checkArguments, type Device, type Model, onnx, parseOptions } from "@exitkit/core-gpu";
import { z } from "zod";
import { probeBatchLayout } from "../exits/batch-axis.ts";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { cutAtExits } from "../exits/stages.ts";
import { info } from "../staged/fuse.ts";

/** How one stage of an exported network is run. Plain data: write it beside the files as JSON. */
export interface StageDescription {
  /** Name of the exit that answers at the end of this stage. */
  readonly exit: string;
  /** Tensors it is fed: the network's input, or outputs of earlier stages. */
  readonly inputs: readonly string[];
  /** What it computes: its two answers, then those of its tensors that later stages are fed. */
  readonly outputs: readonly string[];
  /** Output float32 `[n]`: a sample leaves when this is strictly greater than the exit's threshold. */
  readonly confidence: string;
  /** Output int64 `[n]`: the class answered. */
  readonly prediction: string;
  /** Tensors with a row for every sample that later stages are fed: the rows of samples that leave are taken out of them. */
  readonly carried: readonly string[];
  /** Tensors that later stages are fed as they are. */
  readonly carriedWhole: readonly string[];
}

/** A network as one ONNX model for each stage. */
export interface ExportedStages {
  /** `[e]` */
  readonly models: readonly Model[];
  /** `[e]` */
  readonly stages: readonly StageDescription[];
}

const schema = z.strictObject({ sampleShape: z.array(z.int().min(1)).readonly().optional() });

/**
 * Cuts a network with exits into one ONNX model for each stage, for other programs to run one after another: run stage 0;
 * samples whose confidence is strictly greater than the exit's threshold have their answer; take the others' rows of all
 * carried tensors to the next stage. The last stage answers all that reach it.
 *
 * Stage j's model computes exactly what the whole network does between exits j − 1 and j, in the network's own operator
 * set, and states dtype and shape of every input and output. To find them out, and which tensors have a row for every
 * sample, the network is run on 1, 2 and 3 made-up samples, as `openStaged` does. A model whose batch is fixed at 1
 * never shrinks: all its tensors are `carriedWhole`.
 *
 * @param options.sampleShape Shape of one sample, without the batch dimension. Default: what the model states; needed if
 * that is symbolic.
 * @throws InputError as {@link openStaged} does: exits that do not fit, a tensor with the batch on another axis, a sample's
 * shape that is not known.
 * @example
 * ```ts
 * import { type Device, writeFileAtomic, writeModelFile } from "@exitkit/core-gpu";
 * import { exportStages, type ExitModel } from "@exitkit/early-exit";
 * const write = async (device: Device, network: ExitModel) => {
 *   const { models, stages } = await exportStages(device, network);
 *   for (const [j, model] of models.entries()) await writeModelFile(`stage${j}.onnx`, model);
 *   await writeFileAtomic("stages.json", new TextEncoder().encode(JSON.stringify(stages)));
 * };
 * ```
 */
export async function exportStages(
  device: Device,
  exitModel: ExitModel,
  options: { readonly sampleShape?: readonly number[] } = {},
): Promise<ExportedStages> {
  const caller = "early-exit.exportStages";
  checkArguments(caller, { device: [device, "an open device"], exitModel: [exitModel, EXIT_MODEL] });
  const { sampleShape } = parseOptions(caller, schema, options);
  const cut = cutAtExits(caller, exitModel);
  const layout = await probeBatchLayout(caller, device, exitModel, cut, sampleShape);
  const { input, exits } = exitModel;
  const batch = layout.fixedBatch ?? "n";
  const typed = (name: string): onnx.ValueInfoProto => {
    if (name === input) return info(name, onnx.dataTypeOf(layout.dtype), [batch, ...layout.sampleShape]);
    const row = layout.rowTensors.get(name);
    if (row !== undefined) return info(name, onnx.dataTypeOf(row.dtype), ["n", ...row.shape]);
    const { dtype, shape } = layout.others.get(name)!;
    return info(name, onnx.dataTypeOf(dtype), shape);
  };
  const parts = cut.stages.map(({ model, inputs, outputs }, j) => {
    const { name: exit, confidence, prediction } = exits[j]!;
    const goingOn = cut.carried[j] ?? [];
    const made = outputs.filter((name) => name !== confidence && name !== prediction && goingOn.includes(name));
    const graph = model.proto.graph!;
    const crossing = new Set(inputs);
    const changed = onnx.changed(graph, {
      input: [...inputs.map(typed), ...graph.input.filter(({ name }) => !crossing.has(name))],
      output: [
        info(confidence, onnx.DataType.FLOAT, [batch]),
        info(prediction, onnx.DataType.INT64, [batch]),
        ...made.map(typed),
      ],
    });
    const carried = goingOn.filter((name) => layout.rowTensors.has(name));
    const carriedWhole = goingOn.filter((name) => !layout.rowTensors.has(name));
    const answers = { confidence, prediction };
    return {
      model: { proto: onnx.changed(model.proto, { graph: changed }) },
      stage: { exit, inputs, outputs: [confidence, prediction, ...made], ...answers, carried, carriedWhole },
    };
  });
  return { models: parts.map(({ model }) => model), stages: parts.map(({ stage }) => stage) };
}
