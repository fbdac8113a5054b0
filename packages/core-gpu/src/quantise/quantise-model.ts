import { z } from "zod";
import type { Device } from "../device/device.ts";
import { InputError } from "../errors.ts";
import { indexModel, tensorNames } from "../onnx/graph.ts";
import { type Model, opsetOf } from "../onnx/model.ts";
import { quoted, suggestion } from "../onnx/names.ts";
import type { GraphProto, NodeProto } from "../onnx/onnx_pb.ts";
import { subgraphs } from "../onnx/reads.ts";
import { parseOptions } from "../options.ts";
import { until } from "../until.ts";
import { type Calibration, collect, type Feeds } from "./calibrate.ts";
import { type RangeMethod, rangeOf } from "./clipping.ts";
import { titleOf } from "./graph-parts.ts";
import { type ActivationType, activationParameters, type Parameters } from "./parameters.ts";
import { activationsOf, planQuantisation, type QuantisationPlan } from "./plan.ts";
import { prepare } from "./prepare.ts";
import { compare, type QuantisationReport } from "./report.ts";
import { productsSaturate } from "./saturation.ts";
import { type NodeWeights, quantiseWeights, type WeightOptions } from "./weights.ts";
import { writeQuantised } from "./write.ts";

const caller = "core-gpu.quantiseModel";

/** Options of {@link quantiseModel}. */
export interface QuantiseModelOptions {
  /** How ranges follow from the calibration data. Default `minMax`. */
  readonly method?: RangeMethod;
  /** For the method `percentile`: share of the values inside the range, in per cent, (0, 100]. Default 99.99. */
  readonly percentile?: number;
  /** Element type of activations. Default `uint8`, which runtimes are fastest with. */
  readonly activations?: ActivationType;
  /** One scale for each output channel of weights rather than one in all. Needs operator set 13. Default true. */
  readonly perChannel?: boolean;
  /**
   * Bits of the weights. Default `auto`: 7 where the device's products of 8 bits saturate (see {@link QuantisationReport.saturates}),
   * else 8. A file for machines that are not known needs 7 to give the same answers everywhere.
   */
  readonly weightBits?: "auto" | 7 | 8;
  /** Correct biases for what rounding the weights adds on average. Default false. */
  readonly biasCorrection?: boolean;
  /** Nodes to leave in float, by name or first output. Default none. */
  readonly keepFloat?: readonly string[];
  /**
   * Tensors that stay in the network under their names, as float32, whoever reads them: what exits will be attached to. Default none:
   * a runtime would compute them in vain.
   */
  readonly taps?: readonly string[];
  /** Ends the call between two batches: it rejects with the signal's reason, streams are closed, the device can be used on. */
  readonly signal?: AbortSignal;
}

/** A quantised network and what that cost. */
export interface Quantised {
  readonly model: Model;
  readonly report: QuantisationReport;
}

const optionsSchema = z.strictObject({
  method: z.enum(["minMax", "percentile", "meanSquaredError", "entropy"]).default("minMax"),
  percentile: z.number().gt(0).max(100).default(99.99),
  activations: z.enum(["uint8", "int8"]).default("uint8"),
  perChannel: z.boolean().default(true),
  weightBits: z.union([z.literal("auto"), z.literal(7), z.literal(8)]).default("auto"),
  biasCorrection: z.boolean().default(false),
  keepFloat: z.array(z.string()).readonly().default([]),
  taps: z.array(z.string()).readonly().default([]),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * Quantises a trained network to 8 bits, without training: a model that any ONNX runtime reads, with QuantizeLinear and
 * DequantizeLinear around the nodes that runtimes then compute with whole numbers.
 *
 * real = (whole − zeroPoint) · scale; activations are uint8 (or int8) with one range each, found on the calibration data; weights
 * int8, symmetric, a scale for each output channel; biases int32 at the product of the two scales. Batch norms are folded into the
 * convolutions first, Relu and Clip into the ranges. Convolutions, fully connected layers, matrix products with constant weights,
 * sums, products, concatenations and poolings compute in 8 bits and nodes between them that only move values run on the whole
 * numbers; everything else stays in float and is listed. A layer whose bias does not fit 32 bits stays in float too.
 *
 * Inputs, outputs, tensors that nodes in float read, and `taps` keep their names: exits by their names fit the quantised network as they
 * did the other. What lies in front of a folded activation is gone. A final fully connected layer gives float32, not rounded.
 *
 * The data are read once, batch by batch; memory does not grow with them. A few hundred to a thousand samples do.
 *
 * @param batches Calibration data: for every batch a record of the network's inputs. Not the data that accuracy is reported on.
 * @returns The quantised model and a report of every layer, seen on the first batch.
 * @throws InputError on a model that holds quantised nodes already (which ones), an operator set below 13 (10 without
 * `perChannel`), an unknown option or name, no batch, values that are not finite (which tensor), or nothing that 8 bits could compute.
 * @example
 * ```ts
 * import { generator, openDevice, quantiseModel, readModelFile, tensor } from "@exitkit/core-gpu";
 * const network = await readModelFile("network.onnx");
 * const random = generator(1);
 * const x = tensor("float32", [32, 3, 8, 8], Array.from({ length: 32 * 3 * 8 * 8 }, () => random.normal()));
 * const device = await openDevice("cpu");
 * const { model, report } = await quantiseModel(device, network, [{ x }]);
 * console.assert(report.layers.some(({ bits }) => bits === 8));
 * console.assert(model.proto.graph!.node.some(({ opType }) => opType === "QuantizeLinear"));
 * await device.close();
 * ```
 * Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018 [M];
 * formulas as onnxruntime's quantiser [S]. Differs: moving nodes run on whole numbers as they are written, each reader has a
 * DequantizeLinear of its own, and a network's last layer is not rounded.
 */
export async function quantiseModel(
  device: Device,
  model: Model,
  batches: Iterable<Feeds> | AsyncIterable<Feeds>,
  options: QuantiseModelOptions = {},
): Promise<Quantised> {
  const chosen = parseOptions(caller, optionsSchema, options);
  checkQuantisable(model, chosen.perChannel);
  const float = prepare(caller, model);
  const { graph } = indexModel(caller, float);
  const keep = namesToKeep(model, graph, chosen.keepFloat);
  const known = tensorNames(indexModel(caller, float));
  for (const name of chosen.taps) {
    if (!known.has(name)) {
      throw new InputError(caller, "taps must name tensors of the model", quoted(name), suggestion(name, known));
    }
  }
  if (typeof device?.load !== "function") {
    throw new InputError(caller, "device must be an open device", typeof device, 'openDevice("cpu") gives one.');
  }
  if (!isIterable(batches)) {
    throw new InputError(
      caller,
      "batches must be a list or stream of feeds",
      typeof batches,
      "Pass [{ input: tensor }].",
    );
  }
  let plan = planQuantisation(caller, float, keep);
  requireWork(plan, graph);
  const calibration = await collect(caller, device, float, plan, until(chosen.signal, batches), chosen.biasCorrection);
  const saturates = chosen.weightBits === "auto" ? await productsSaturate(device) : null;
  const weightBits = chosen.weightBits === "auto" ? (saturates === true ? 7 : 8) : chosen.weightBits;

  const parameters = parametersOf(calibration, chosen);
  const outsized = new Set<string>();
  let weights: ReadonlyMap<number, NodeWeights> = new Map();
  for (let settled = false; !settled; ) {
    const before = outsized.size;
    weights = roundWeights(graph, plan, parameters, { ...chosen, weightBits, means: calibration.means }, outsized);
    settled = outsized.size === before;
    if (!settled) plan = withReasons(planQuantisation(caller, float, new Set([...keep, ...outsized])), graph, outsized);
  }
  requireWork(plan, graph);
  for (const name of chosen.taps) {
    const gone = plan.nodes.find(({ at, output }) => graph.node[at]!.output[0] === name && output !== name);
    if (gone !== undefined) {
      const fix = `Take ${quoted(gone.output)}, the activation's result, or name the activation in keepFloat.`;
      throw new InputError(caller, "taps must still exist", `${quoted(name)}, whose activation is folded`, fix);
    }
  }
  const write = (names: readonly string[]) =>
    writeQuantised(caller, float, plan, parameters, weights, chosen.activations, new Set(names));
  const quantised = write(chosen.taps);
  const tapped = write(plan.nodes.map(({ output }) => output));
  const costs = await compare(device, float, quantised, tapped, plan, parameters, calibration.first);
  return { model: quantised, report: { weightBits, saturates, ...costs } };
}

const quantisedOperators =
  /^(QuantizeLinear|DequantizeLinear|DynamicQuantizeLinear|QLinear\w*|QGemm|QAttention|ConvInteger|MatMulInteger\w*|MatMulNBits|DynamicQuantize\w*)$/;

function checkQuantisable(model: Model, perChannel: boolean): void {
  const { graph } = indexModel(caller, model);
  const found = allNodes(graph).filter(({ opType }) => quantisedOperators.test(opType));
  if (found.length > 0) {
    const actual = `${found.length} quantised nodes, the first ${quoted(titleOf(found[0]!))} (${found[0]!.opType})`;
    throw new InputError(
      caller,
      "the model must not be quantised already",
      actual,
      "Quantise the float model it was made from.",
    );
  }
  const opset = opsetOf(model);
  if (opset < (perChannel ? 13 : 10)) {
    const expectation = `the model must use operator set ${perChannel ? "13 or later for a scale per channel" : "10 or later"}`;
    const fix = `Export it again for a later operator set${perChannel && opset >= 10 ? ", or pass perChannel: false." : "."}`;
    throw new InputError(caller, expectation, String(opset), fix);
  }
}

function allNodes(graph: GraphProto): NodeProto[] {
  return graph.node.flatMap((node) => [node, ...subgraphs(node).flatMap(allNodes)]);
}

function namesToKeep(model: Model, prepared: GraphProto, wanted: readonly string[]): ReadonlySet<string> {
  const names = (graph: GraphProto) => graph.node.flatMap(({ name, output }) => [name, output[0] ?? ""]);
  const known = new Set([...names(model.proto.graph!), ...names(prepared)].filter((name) => name !== ""));
  for (const name of wanted) {
    if (!known.has(name)) {
      throw new InputError(caller, "keepFloat must name nodes of the model", quoted(name), suggestion(name, known));
    }
  }
  return new Set(wanted);
}

function isIterable(value: unknown): boolean {
  return typeof value === "object" && value !== null && (Symbol.iterator in value || Symbol.asyncIterator in value);
}

function requireWork({ nodes, left }: QuantisationPlan, graph: GraphProto): void {
  if (nodes.some(({ kind }) => kind === "weighted")) return;
  const weighted = left.filter(({ at }) => ["Conv", "Gemm", "MatMul"].includes(graph.node[at]!.opType));
  const actual = weighted.map(({ at, reason }) => `${quoted(titleOf(graph.node[at]!))}: ${reason}`).join("; ");
  const expectation =
    "the model must have a convolution, fully connected layer or matrix product that 8 bits can compute";
  throw new InputError(caller, expectation, actual === "" ? "none" : actual);
}

function parametersOf(
  { histograms }: Calibration,
  { method, percentile, activations }: Required<Pick<QuantiseModelOptions, "method" | "percentile" | "activations">>,
): ReadonlyMap<string, Parameters> {
  return new Map(
    [...histograms].map(([name, histogram]) => [
      name,
      activationParameters(rangeOf(histogram, method, percentile, activations), activations),
    ]),
  );
}

/** The weights of all weighted nodes; names of nodes whose bias is too large are added to `outsized`. */
function roundWeights(
  graph: GraphProto,
  { nodes, shared }: QuantisationPlan,
  parameters: ReadonlyMap<string, Parameters>,
  options: WeightOptions,
  outsized: Set<string>,
): ReadonlyMap<number, NodeWeights> {
  const weights = new Map<number, NodeWeights>();
  for (const { at, kind } of nodes) {
    if (kind !== "weighted") continue;
    const node = graph.node[at]!;
    const input = activationsOf(node)[0]!;
    const { scale } = parameters.get(shared.get(input) ?? input)!;
    const made = quantiseWeights(caller, graph, node, scale, options);
    if (made === undefined) outsized.add(node.output[0]!);
    else weights.set(at, made);
  }
  return weights;
}

function withReasons(plan: QuantisationPlan, graph: GraphProto, outsized: ReadonlySet<string>): QuantisationPlan {
  const left = plan.left.map((entry) =>
    outsized.has(graph.node[entry.at]!.output[0]!) ? { ...entry, reason: "its bias does not fit 32 bits" } : entry,
  );
  return { ...plan, left };
}
