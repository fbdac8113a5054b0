import type { onnx } from "@exitkit/core-gpu";
import type { LayerPlace } from "../times/layer-shape.ts";
import { type Graph, int, ints } from "./graph.ts";
import { type Labels, makeLabels } from "./labels.ts";
import { rearranged } from "./rearrange.ts";
import { countsWith } from "./shape-readers.ts";

type NodeProto = onnx.NodeProto;

/** Where a tensor's channels lie, and their labels in order. */
interface Channels {
  readonly axis: number;
  readonly labels: Int32Array;
}

/** What changes with the channels that go. */
export interface Dependencies {
  readonly labels: Labels;
  /** Labels along axes of initializers, by name and axis: what is cut. */
  readonly cuts: ReadonlyMap<string, ReadonlyMap<number, Int32Array>>;
  /** Outputs of layers: a label for each channel, with the layer's weight. */
  readonly layers: readonly { readonly weight: string; readonly labels: Int32Array }[];
  /** Convolutions and linear layers with the labels that they read and give: what a table of times knows. */
  readonly products: readonly { readonly place: LayerPlace; readonly in: Int32Array; readonly out: Int32Array }[];
  /** Parts that a Split makes of channels: of each some must stay. */
  readonly splits: ReadonlyMap<NodeProto, readonly Int32Array[]>;
  /** Depthwise convolutions, whose groups are their input's channels. */
  readonly groups: ReadonlyMap<NodeProto, Int32Array>;
  /** Paddings of the channel axis: zero channels before and after. */
  readonly pads: ReadonlyMap<
    NodeProto,
    { readonly axis: number; readonly before: Int32Array; readonly after: Int32Array }
  >;
  /** Numbers in the target of a Reshape, of `rank` of them, that count channels. */
  readonly reshapes: ReadonlyMap<
    NodeProto,
    { readonly at: number; readonly rank: number; readonly labels: Int32Array }
  >;
}

const sameChannels = new Set(
  (
    "Relu LeakyRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Mish Tanh Softplus Softsign Erf Exp Log Sqrt Neg Abs Clip " +
    "Identity Cast Dropout Reciprocal Floor Ceil Round Sign ThresholdedRelu MaxPool AveragePool LpPool GlobalMaxPool GlobalAveragePool"
  ).split(" "),
);
const elementwise = new Set("Add Sub Mul Div Max Min Sum Mean PRelu Pow Where".split(" "));

/**
 * Follows the channels of every tensor through a graph, operator by operator. Operators without a rule keep the channels of what they
 * read, and say so.
 */
export function propagate(graph: Graph): Dependencies {
  const labels = makeLabels();
  const tracked = new Map<string, Channels>();
  const cuts = new Map<string, Map<number, Int32Array>>();
  const layers: { readonly weight: string; readonly labels: Int32Array }[] = [];
  const groups = new Map<NodeProto, Int32Array>();
  const pads = new Map<NodeProto, { axis: number; before: Int32Array; after: Int32Array }>();
  const reshapes = new Map<NodeProto, { at: number; rank: number; labels: Int32Array }>();
  const splits = new Map<NodeProto, readonly Int32Array[]>();
  const products: { place: LayerPlace; in: Int32Array; out: Int32Array }[] = [];

  const of = (name: string | undefined): Channels | undefined => (name === undefined ? undefined : tracked.get(name));
  const keep = (node: NodeProto, channels: Channels | undefined) => {
    for (const name of node.output) if (name !== "" && channels !== undefined) tracked.set(name, channels);
  };
  const fixInputs = (node: NodeProto) => {
    for (const name of node.input) {
      const channels = of(name);
      if (channels !== undefined) labels.fix(channels.labels, `${node.opType} needs all of its channels`);
    }
  };
  /** Cuts an axis of what a node reads; where that is no plain weight, the channels stay. */
  const cut = (name: string, axis: number, along: Int32Array, why: string) => {
    const weight = graph.weight(name);
    if (weight === undefined) return labels.fix(along, why);
    const known = cuts.get(weight.name) ?? new Map<number, Int32Array>();
    cuts.set(weight.name, known);
    const at = weight.axes[axis]!;
    const before = known.get(at);
    if (before === undefined) known.set(at, along);
    else labels.join(before, along);
  };
  const layer = (node: NodeProto, weight: string, axis: number, outputs: number): Int32Array => {
    const made = labels.fresh(outputs);
    cut(weight, axis, made, `the weight of ${node.opType} is computed`);
    layers.push({ weight: graph.weight(weight)?.name ?? weight, labels: made });
    return made;
  };

  /** Channels that are not followed, such as those of an input. */
  const fixed = (count: number): Int32Array => {
    const made = labels.fresh(count);
    labels.fix(made, "they are not followed");
    return made;
  };

  const convolution = (node: NodeProto) => {
    const [x, weight, bias] = node.input as [string, string, string | undefined];
    const input = of(x);
    const [outputs, perGroup] = graph.shape(weight) as [number, number];
    const group = int(node, "group", 1);
    const depthwise = group > 1 && perGroup === 1;
    let made: Int32Array;
    if (depthwise && input !== undefined) {
      made = Int32Array.from({ length: outputs }, (_, at) => input.labels[Math.floor((at * group) / outputs)]!);
      cut(weight, 0, made, "the weight of Conv is computed");
      groups.set(node, input.labels);
    } else {
      if (group > 1) fixInputs(node);
      else if (input !== undefined) cut(weight, 1, input.labels, "the weight of Conv is computed");
      made = layer(node, weight, 0, outputs);
      if (group > 1) labels.fix(made, "a grouped convolution is left as it is");
    }
    if (bias !== undefined && bias !== "") cut(bias, 0, made, "the bias of Conv is computed");
    if (group === 1 || depthwise) {
      const size = graph.shape(x).slice(2);
      const stride = ints(node, "strides") ?? size.map(() => 1);
      const place = {
        kind: depthwise ? "depthwise" : "conv",
        kernel: graph.shape(weight).slice(2),
        stride,
        size,
      } as const;
      products.push({ place, in: input?.labels ?? fixed(perGroup * group), out: made });
    }
    keep(node, { axis: 1, labels: made });
  };

  const product = (node: NodeProto) => {
    const [a, b, bias] = node.input as [string, string, string | undefined];
    const input = of(a);
    const isGemm = node.opType === "Gemm";
    const [inputs, columns] = isGemm && int(node, "transB", 0) !== 0 ? [1, 0] : [0, 1];
    const last = graph.shape(a).length - 1;
    if (node.opType === "MatMul" && !graph.isConstant(a) && !graph.isConstant(b)) return contraction(node);
    const usual = graph.isConstant(b) && graph.shape(b).length === 2 && !(isGemm && int(node, "transA", 0) !== 0);
    if (!usual || (input !== undefined && input.axis !== last)) return fixInputs(node);
    if (input !== undefined) cut(b, inputs, input.labels, `the weight of ${node.opType} is computed`);
    const made = layer(node, b, columns, graph.shape(b)[columns]!);
    const rows = graph
      .shape(a)
      .slice(1, -1)
      .reduce((size, side) => size * side, 1);
    const place = { kind: "linear", kernel: [], stride: [], size: [rows] } as const;
    products.push({ place, in: input?.labels ?? fixed(graph.shape(b)[inputs]!), out: made });
    if (isGemm && bias !== undefined && bias !== "") {
      const shape = graph.shape(bias);
      if (shape.at(-1) === made.length) cut(bias, shape.length - 1, made, "the bias of Gemm is computed");
      else if (shape.at(-1) !== 1) labels.fix(made, "the bias of Gemm is of another size");
    }
    keep(node, { axis: last, labels: made });
  };

  /** A product of two activations, as in attention: channels may lie on an axis before the last two, or be what is summed over. */
  const contraction = (node: NodeProto) => {
    const names = node.input.slice(0, 2) as [string, string];
    const [a, b] = names.map((name) => {
      const channels = of(name);
      return channels === undefined ? undefined : { ...channels, fromEnd: graph.shape(name).length - channels.axis };
    });
    const rank = graph.shape(node.output[0]!).length;
    const whole = (name: string, fromEnd: number) => (graph.shape(name).at(-fromEnd) ?? 1) === 1;
    if (a !== undefined && b !== undefined) {
      if (a.fromEnd === 1 && b.fromEnd === 2) return labels.join(a.labels, b.labels);
      if (a.fromEnd !== b.fromEnd || a.fromEnd < 3 || a.labels.length !== b.labels.length) return fixInputs(node);
      labels.join(a.labels, b.labels);
      return keep(node, { axis: rank - a.fromEnd, labels: a.labels });
    }
    const one = a ?? b;
    if (one === undefined) return;
    const outer = one === a ? one.fromEnd === 2 : one.fromEnd === 1;
    if (outer || (one.fromEnd > 2 && whole(one === a ? names[1] : names[0], one.fromEnd))) {
      return keep(node, { axis: rank - one.fromEnd, labels: one.labels });
    }
    fixInputs(node);
  };

  /** Scaled products of queries, keys and values, [n, heads, t, d / heads]. */
  const attention = (node: NodeProto) => {
    const parts = node.input.slice(0, 3).map(of);
    const heads = node.input.slice(0, 3).map((name) => graph.shape(name)[1]);
    const mask = node.input[3];
    const shared = mask === undefined || mask === "" || graph.shape(mask).length < 3 || graph.shape(mask).at(-3) === 1;
    const usual =
      shared &&
      node.input.slice(4).every((name) => name === "") &&
      node.output.slice(1).every((name) => name === "") &&
      parts.every(
        (part, at) => part?.axis === 1 && graph.shape(node.input[at]!).length === 4 && heads[at] === heads[0],
      );
    if (!usual) return fixInputs(node);
    for (const part of parts) labels.join(parts[0]!.labels, part!.labels);
    keep(node, parts[0]);
  };

  const split = (node: NodeProto) => {
    const input = of(node.input[0]);
    if (input === undefined) return;
    const rank = graph.shape(node.input[0]!).length;
    if ((int(node, "axis", 0) + rank) % rank !== input.axis) return keep(node, input);
    let from = 0;
    const parts = node.output.map((name) => {
      const size = graph.shape(name)[input.axis]!;
      from += size;
      return input.labels.slice(from - size, from);
    });
    splits.set(node, parts);
    node.output.forEach((name, at) => {
      tracked.set(name, { axis: input.axis, labels: parts[at]! });
    });
  };

  /** Rows of another axis, or one of them. */
  const gathered = (node: NodeProto) => {
    const input = of(node.input[0]);
    if (input === undefined || of(node.input[1]) !== undefined) return fixInputs(node);
    const rank = graph.shape(node.input[0]!).length;
    const axis = (int(node, "axis", 0) + rank) % rank;
    if (axis === input.axis) return fixInputs(node);
    const shift = axis < input.axis ? graph.shape(node.input[1]!).length - 1 : 0;
    keep(node, { axis: input.axis + shift, labels: input.labels });
  };

  /** Normalised over an axis, or over that and all behind it. */
  const normalised = (node: NodeProto, first: number, behind: boolean) => {
    const input = of(node.input[0]);
    if (input === undefined) return;
    const rank = graph.shape(node.input[0]!).length;
    const axis = (int(node, "axis", first) + rank) % rank;
    if (behind ? input.axis >= axis : input.axis === axis) return fixInputs(node);
    keep(node, input);
  };

  const combined = (node: NodeProto) => {
    const shape = graph.shape(node.output[0]!);
    const inputs = node.input.filter((name) => name !== "");
    /** The axis of the result that an axis of an operand meets. */
    const shifted = (name: string, axis: number) => axis + shape.length - graph.shape(name).length;
    const from = inputs.find(
      (name) => of(name) !== undefined && shape[shifted(name, of(name)!.axis)] === of(name)!.labels.length,
    );
    if (from === undefined) return fixInputs(node);
    const channels: Channels = { axis: shifted(from, of(from)!.axis), labels: of(from)!.labels };
    for (const name of inputs) {
      const own = graph.shape(name);
      const axis = channels.axis - (shape.length - own.length);
      const other = of(name);
      if (axis < 0 || own[axis] === 1) {
        if (other !== undefined) labels.fix(other.labels, `${node.opType} spreads it over other channels`);
      } else if (other !== undefined) {
        if (other.axis === axis) labels.join(channels.labels, other.labels);
        else {
          labels.fix(other.labels, `${node.opType} crosses its channels with others`);
          labels.fix(channels.labels, `${node.opType} crosses its channels with others`);
        }
      } else if (graph.isConstant(name)) cut(name, axis, channels.labels, `an operand of ${node.opType} is computed`);
      else labels.fix(channels.labels, `${node.opType} meets channels that are not followed`);
    }
    keep(node, channels);
  };

  const joined = (node: NodeProto) => {
    const rank = graph.shape(node.output[0]!).length;
    const axis = (int(node, "axis", 0) + rank) % rank;
    const parts = node.input.map((name) => ({ size: graph.shape(name)[axis]!, channels: of(name) }));
    const known = parts.find(({ channels }) => channels !== undefined)?.channels;
    if (known === undefined) return;
    if (parts.some(({ channels }) => channels !== undefined && channels.axis !== known.axis)) return fixInputs(node);
    if (known.axis !== axis) {
      if (parts.some(({ channels }) => channels === undefined)) return fixInputs(node);
      for (const { channels } of parts) labels.join(known.labels, channels!.labels);
      return keep(node, known);
    }
    const all = parts.map(({ size, channels }) => {
      if (channels !== undefined) return channels.labels;
      const made = labels.fresh(size);
      labels.fix(made, "a part of Concat is not followed");
      return made;
    });
    keep(node, { axis, labels: Int32Array.from(all.flatMap((list) => [...list])) });
  };

  const reshaped = (node: NodeProto) => {
    const input = of(node.input[0]);
    if (input === undefined) return;
    const after = graph.shape(node.output[0]!);
    const found = rearranged(labels, input, graph.shape(node.input[0]!), after);
    if (found === undefined) return fixInputs(node);
    if (node.opType === "Reshape") reshapes.set(node, { at: found.axis, rank: after.length, labels: found.labels });
    keep(node, found);
  };

  const padded = (node: NodeProto) => {
    const input = of(node.input[0]);
    if (input === undefined) return;
    const rank = graph.shape(node.input[0]!).length;
    const amounts = ints(node, "pads") ?? graph.constant(node.input[1])?.data;
    const isZero = Number(graph.constant(node.input[2])?.data[0] ?? 0) === 0;
    const [before, after] = [Number(amounts?.[input.axis] ?? -1), Number(amounts?.[input.axis + rank] ?? -1)];
    if (before === 0 && after === 0) return keep(node, input);
    const byAttribute = ints(node, "pads") !== undefined;
    if (before < 0 || after < 0 || !isZero || byAttribute || amounts?.length !== 2 * rank) return fixInputs(node);
    const [first, last] = [labels.fresh(before), labels.fresh(after)];
    pads.set(node, { axis: input.axis, before: first, after: last });
    keep(node, { axis: input.axis, labels: Int32Array.from([...first, ...input.labels, ...last]) });
  };

  const rule = (node: NodeProto) => {
    const { opType, domain } = node;
    const input = of(node.input[0]);
    if (node.input.every((name) => name === "" || graph.isConstant(name))) return;
    if (opType === "Shape" || opType === "Size") {
      if (input !== undefined && countsWith(graph, node, input.axis)) {
        labels.fix(input.labels, "something is computed from their number");
      }
      return;
    }
    if (domain !== "" && domain !== "ai.onnx") return fixInputs(node);
    if (node.attribute.some(({ g, graphs }) => g !== undefined || graphs.length > 0)) return fixInputs(node);
    if (opType === "Conv") return convolution(node);
    if (opType === "Gemm" || opType === "MatMul") return product(node);
    if (elementwise.has(opType)) return combined(node);
    if (opType === "Concat") return joined(node);
    if (opType === "Flatten" || opType === "Reshape") return reshaped(node);
    if (opType === "Split") return split(node);
    if (opType === "Gather") return gathered(node);
    if (opType === "Attention") return attention(node);
    if (opType === "Softmax" || opType === "LogSoftmax") {
      return graph.opset < 13 ? normalised(node, 1, true) : normalised(node, -1, false);
    }
    if (opType === "LayerNormalization") return normalised(node, -1, true);
    if (opType === "Pad") return padded(node);
    if (sameChannels.has(opType)) return keep(node, input);
    if (opType === "BatchNormalization" || opType === "InstanceNormalization") {
      if (input === undefined || input.axis !== 1 || node.output.length > 1) return fixInputs(node);
      for (const name of node.input.slice(1)) cut(name, 0, input.labels, `a parameter of ${opType} is computed`);
      return keep(node, input);
    }
    if (opType === "Transpose" && input !== undefined) {
      const rank = graph.shape(node.input[0]!).length;
      const order = ints(node, "perm") ?? Array.from({ length: rank }, (_, axis) => rank - 1 - axis);
      return keep(node, { axis: order.indexOf(input.axis), labels: input.labels });
    }
    if (/^(ReduceMean|ReduceMax|ReduceSum|ReduceL2|Squeeze|Unsqueeze|Slice|Resize)$/.test(opType))
      return otherAxes(node);
    fixInputs(node);
  };

  /** Operators that leave the channels alone where they work on other axes. */
  const otherAxes = (node: NodeProto) => {
    const input = of(node.input[0]);
    if (input === undefined) return;
    const [before, after] = [graph.shape(node.input[0]!), graph.shape(node.output[0]!)];
    const { opType } = node;
    if (opType === "Resize") return before[input.axis] === after[input.axis] ? keep(node, input) : fixInputs(node);
    const operand = node.input[opType === "Slice" ? 3 : 1];
    const given = ints(node, "axes") ?? graph.constant(operand)?.data;
    if (given === undefined) return fixInputs(node);
    const rank = opType === "Unsqueeze" ? after.length : before.length;
    const axes = Array.from(given as ArrayLike<number | bigint>, (axis) => (Number(axis) + rank) % rank);
    if (opType === "Unsqueeze") {
      const left = after.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
      return keep(node, { axis: left[input.axis]!, labels: input.labels });
    }
    if (axes.includes(input.axis)) return fixInputs(node);
    const dropped = opType === "Squeeze" || (opType.startsWith("Reduce") && int(node, "keepdims", 1) === 0);
    const shift = dropped ? axes.filter((axis) => axis < input.axis).length : 0;
    keep(node, { axis: input.axis - shift, labels: input.labels });
  };

  for (const node of graph.nodes) rule(node);
  for (const name of graph.outputs) {
    const channels = of(name);
    if (channels !== undefined) labels.fix(channels.labels, `they are the output ${name}`);
  }
  return { labels, cuts, layers, products, splits, groups, pads, reshapes };
}
