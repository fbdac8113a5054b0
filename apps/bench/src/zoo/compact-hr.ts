import type { Carry, SegmentationExitNetwork } from "@exitkit/cbt";
import {
  foldBatchNorm,
  type Generator,
  generator,
  InputError,
  layers,
  ops,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import type { FrameNormalisation } from "../data/segmentation.ts";
import type { DataFile } from "../data/stored.ts";
import { readWeights } from "./weights.ts";

/** A convolution with a batch norm behind it, as layers are described: who computes it, and with which numbers, is another's affair. */
interface UnitOptions {
  readonly out: number;
  /** Default 1. */
  readonly kernel?: 1 | 3;
  /** Default 1. */
  readonly stride?: 1 | 2;
  /** Default 1. */
  readonly dilation?: number;
}

/** What the description of a network is made of. */
interface Units {
  /** Convolution without bias, batch norm. */
  norm(name: string, x: Value, options: UnitOptions): Value;
  /** Convolution of squares of four by four pixels that do not overlap, without bias, batch norm. */
  squares(name: string, frame: Value, out: number): Value;
  /** Bilinear, half pixels. */
  resized(x: Value, size: readonly [number, number]): Value;
  /** 1 × 1 convolution with bias. */
  scores(name: string, x: Value, out: number): Value;
}

/** Classes and channels. */
export const COMPACT_HR = { classes: 11, stream: 96, narrow: 48, exits: 3, blocks: [2, 2, 2] } as const;

/** Dilations of the blocks behind the exits. */
const DILATIONS = [1, 2, 4, 1, 2, 4] as const;

/**
 * A compact network of several resolutions whose work lies behind its exits. The first stage is cheap and sees far: ¼ to 1/32 of the
 * frame, joined at ⅛. Three stages of two blocks each follow at ⅛: 1 × 1 convolutions around a dilated 3 × 3 one, added to the
 * stream. A pixel that is done keeps its stream, and what its neighbours look at is what the last block it ran left. The last logits
 * have four places a pixel, so they lie at ¼.
 *
 * Source: none is copied; branches of several resolutions that are joined, and exits behind stages, as in HRNetV2 and ADP-C [S].
 */
export function describeCompactHr(units: Units) {
  const { stream, narrow, classes } = COMPACT_HR;
  const act = (name: string, x: Value, options: UnitOptions) => ops.relu(units.norm(name, x, options));
  const block = (name: string, x: Value, out: number, inner: number, dilation: number) => {
    const reduced = act(`${name}Reduce`, x, { out: inner });
    const near = act(`${name}Near`, reduced, { out: inner, kernel: 3, dilation });
    return ops.relu(ops.add(x, units.norm(`${name}Expand`, near, { out })));
  };
  return {
    /** The frame [n, 3, h, w] to the stream at ⅛ and what its neighbours look at. */
    first(frame: Value): { readonly stream: Value; readonly near: Value } {
      const quarter = ops.relu(units.squares("stem", frame, 32));
      const eighth = act("eighth", quarter, { out: 48, kernel: 3, stride: 2 });
      let low = act("low", eighth, { out: 64, kernel: 3, stride: 2 });
      low = block("low0", low, 64, 32, 1);
      low = block("low1", low, 64, 32, 2);
      let lowest = act("lowest", low, { out: 96, kernel: 3, stride: 2 });
      lowest = block("lowest0", lowest, 96, 48, 1);
      lowest = block("lowest1", lowest, 96, 48, 2);
      const size = eighth.shape.slice(2) as [number, number];
      const joined = [
        units.norm("fromEighth", eighth, { out: stream }),
        units.resized(units.norm("fromLow", low, { out: stream }), size),
        units.resized(units.norm("fromLowest", lowest, { out: stream }), size),
      ].reduce((sum, part) => ops.add(sum, part));
      const begun = ops.relu(joined);
      return { stream: begun, near: act("begin", begun, { out: narrow }) };
    },
    /** One of the stages behind an exit, 0 to 2. */
    stage(index: number, from: { readonly stream: Value; readonly near: Value }, carry: Carry) {
      let { stream: x, near } = from;
      for (let at = 2 * index; at < 2 * index + 2; at++) {
        near = carry(act(`block${at}Reduce`, x, { out: narrow }), near);
        const wide = act(`block${at}Near`, near, { out: narrow, kernel: 3, dilation: DILATIONS[at]! });
        x = ops.relu(ops.add(x, units.norm(`block${at}Expand`, wide, { out: stream })));
      }
      return { stream: carry(x, from.stream), near };
    },
    /** Logits [n, k, h, w] of an exit at ⅛. */
    exit: (index: number, x: Value): Value =>
      units.scores(`exit${index}`, act(`exit${index}Reduce`, x, { out: narrow }), classes),
    /** Scores of the four places of each pixel, [n, 4·k, h, w]. */
    last: (x: Value): Value => units.scores("last", act("lastReduce", x, { out: narrow }), 4 * classes),
    /** Logits [n, k, 2·h, 2·w] from scores of four places. */
    unfolded(scores: Value): Value {
      const [n, , h, w] = scores.shape as [number, number, number, number];
      const places = ops.reshape(scores, [n, classes, 2, 2, h, w]);
      return ops.reshape(ops.transpose(places, [0, 1, 4, 2, 5, 3]), [n, classes, 2 * h, 2 * w]);
    },
  };
}

/** Squares of four by four pixels as channels, [n, 48, h ÷ 4, w ÷ 4]. */
function folded(frame: Value): Value {
  const [n, c, h, w] = frame.shape as [number, number, number, number];
  const squares = ops.reshape(frame, [n, c, h / 4, 4, w / 4, 4]);
  return ops.reshape(ops.transpose(squares, [0, 1, 3, 5, 2, 4]), [n, 16 * c, h / 4, w / 4]);
}

/** Parameters of a convolution with batch norm, or of one with bias. */
type UnitParameters<Leaf> = {
  readonly conv: layers.ConvParameters<Leaf>;
  readonly norm?: layers.BatchNormParameters<Leaf>;
};
export type CompactHrParameters<Leaf = Tensor> = Readonly<Record<string, UnitParameters<Leaf>>>;

/** First parameters: Kaiming-normal convolutions; the last batch norm of every residual block begins at nothing. */
export function initCompactHr(random: Generator): CompactHrParameters {
  const made: Record<string, UnitParameters<Tensor>> = {};
  const outOf = (x: Value, out: number, stride: number): Value => {
    const [n, , h, w] = x.shape as [number, number, number, number];
    const sides = [h, w].map((side) => Math.ceil(side / stride)) as [number, number];
    return ops.expand(tensor("float32", [], [0]), [n, out, ...sides]);
  };
  const units: Units = {
    norm(name, x, { out, kernel = 1, stride = 1 }) {
      const conv = layers.initConv(random, {
        in: x.shape[1] as number,
        out,
        kernel,
        bias: false,
        initialWeight: layers.kaimingNormal(),
      });
      const norm = layers.initBatchNorm(out);
      made[name] = { conv, norm: name.endsWith("Expand") ? { ...norm, weight: tensor("float32", [out]) } : norm };
      return outOf(x, out, stride);
    },
    squares: (name, frame, out) => units.norm(name, folded(frame), { out }),
    resized: ops.resize,
    scores(name, x, out) {
      made[name] = { conv: layers.initConv(random, { in: x.shape[1] as number, out, kernel: 1 }) };
      return outOf(x, out, 1);
    },
  };
  trace(({ frame }) => ({ logits: everything(units, frame, (after) => after) }), {
    frame: spec("float32", [1, 3, 64, 64]),
  });
  return made;
}

function everything(units: Units, frame: Value, carry: Carry): readonly Value[] {
  const parts = describeCompactHr(units);
  let at = parts.first(frame);
  const logits: Value[] = [];
  for (let index = 0; index < COMPACT_HR.exits; index++) {
    logits.push(parts.exit(index, at.stream));
    at = parts.stage(index, at, carry);
  }
  return [...logits, parts.unfolded(parts.last(at.stream))];
}

/** Layers as they are trained: batch norms by the batch's own statistics, whose running ones are put into `updated`. */
export function trainingUnits(
  params: CompactHrParameters<Value>,
  updated: Record<string, { readonly norm: layers.RunningStatistics<Value> }>,
): Units {
  const units: Units = {
    norm(name, x, options) {
      const { conv, norm } = params[name]!;
      const { y, updated: next } = layers.batchNorm(norm!, convolved(x, conv.weight, options), { training: true });
      updated[name] = { norm: next };
      return y;
    },
    squares: (name, frame, out) => units.norm(name, folded(frame), { out }),
    resized: ops.resize,
    scores: (name, x) => layers.conv(params[name]!.conv, x),
  };
  return units;
}

function convolved(
  x: Value,
  weight: Value | Tensor,
  { kernel = 1, stride = 1, dilation = 1 }: UnitOptions,
  bias?: Tensor,
) {
  const padding = ((kernel - 1) / 2) * dilation;
  return ops.conv(x, weight, { stride, dilation, padding, ...(bias === undefined ? {} : { bias }) });
}

/** Layers as they are run: batch norms folded into their convolutions. */
function foldedUnits(params: CompactHrParameters): Units {
  const of = (name: string): UnitParameters<Tensor> => {
    const found = params[name];
    if (found === undefined) throw new InputError("bench.compactHr", "weights must hold every layer's", `no "${name}"`);
    return found;
  };
  const inference = (name: string) => {
    const { conv, norm } = of(name);
    const { weight: scale, bias: shift, runningMean: mean, runningVariance: variance } = norm as BatchNorm;
    return foldBatchNorm({ weight: conv.weight as Tensor<"float32"> }, { scale, bias: shift, mean, variance });
  };
  return {
    norm(name, x, options) {
      const { weight, bias } = inference(name);
      return convolved(x, weight, options, bias);
    },
    squares(name, frame) {
      const { weight, bias } = inference(name);
      const [out, inner] = weight.shape as [number, number];
      return ops.conv(frame, tensor("float32", [out, inner / 16, 4, 4], weight.data), { stride: 4, bias });
    },
    resized: (x, [h, w]) => {
      // As products of matrices: a third of the time of ONNX Runtime's Resize.
      const [from, across] = x.shape.slice(2) as [number, number];
      return ops.matmul(between(from, h), ops.matmul(x, between(across, w), { transposeB: true }));
    },
    scores(name, x) {
      const { weight, bias } = of(name).conv;
      return ops.conv(x, weight, { bias: bias! });
    },
  };
}

/** Bilinear resizing of one axis as a matrix [to, from]. */
function between(from: number, to: number): Tensor<"float32"> {
  const matrix = tensor("float32", [to, from]);
  for (let place = 0; place < to; place++) {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.floor(at);
    matrix.data[place * from + low]! += 1 - (at - low);
    if (at > low) matrix.data[place * from + low + 1]! += at - low;
  }
  return matrix;
}

type BatchNorm = layers.BatchNormParameters<Tensor<"float32">>;

/** The network for frames [3, h, w], sides divisible by 8. */
interface CompactHr extends SegmentationExitNetwork {
  /** Names of the stages' ends, for tables. */
  readonly places: readonly string[];
}

/**
 * The compact network with its trained exits, in four stages.
 *
 * @throws InputError on a missing weight or sides that 8 does not divide.
 */
function compactHr(params: CompactHrParameters, [height, width]: readonly [number, number]): CompactHr {
  if (height % 8 !== 0 || width % 8 !== 0) {
    throw new InputError("bench.compactHr", "a frame's sides must be divisible by 8", `${height} × ${width}`);
  }
  const parts = describeCompactHr(foldedUnits(params));
  const { classes, exits } = COMPACT_HR;
  const grid = [height / 8, width / 8] as const;
  return {
    frame: [3, height, width],
    classes,
    places: ["several resolutions joined", "two blocks", "four blocks", "six blocks"],
    stages: Array.from({ length: exits + 1 }, (_, index) => ({
      compute: (features: Readonly<Record<string, Value>>, carry: Carry): Readonly<Record<string, Value>> => {
        if (index === 0) return { ...parts.first(features.frame!) };
        const made = parts.stage(index - 1, { stream: features.stream!, near: features.near! }, carry);
        if (index < exits) return made;
        const nothing = ops.expand(tensor("float32", [], [0]), [1, 4 * classes, ...grid]);
        return { logits: parts.unfolded(carry(parts.last(made.stream), nothing)) };
      },
      tap: index < exits ? "stream" : "logits",
    })),
    heads: Array.from({ length: exits }, (_, index) => (tap: Value) => parts.exit(index, tap)),
  };
}

/** How it takes CamVid's frames. */
export const CAMVID_NORMALISATION: FrameNormalisation = {
  channels: "rgb",
  mean: [105, 108, 110],
  deviation: [72, 72, 72],
};

/** The network of the repository, trained here on CamVid; assets/weights/SOURCE.md has the recipe. */
export async function pretrainedCompactHr(
  size: readonly [number, number],
): Promise<{ readonly network: CompactHr; readonly file: DataFile }> {
  const { weights, file } = await readWeights("compact-hr-camvid");
  const like = initCompactHr(generator(1)) as unknown as TreeRecord<Tensor>;
  return { network: compactHr(layers.unflattenParameters(weights, like) as CompactHrParameters, size), file };
}
