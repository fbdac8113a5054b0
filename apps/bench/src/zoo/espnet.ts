import type { SegmentationNetwork } from "@exitkit/cbt";
import { InputError, ops, tensor, type Value } from "@exitkit/core-gpu";
import { type Weights, weightOf } from "./weights.ts";

/** Added to the variance by ESPNet's batch norms. */
const EPSILON = 1e-3;

/** Channels of the pyramid's branches by dilation. */
const DILATIONS = [1, 2, 4, 8, 16] as const;

/**
 * ESPNet (p = 2, q = 8) in pieces, from the tensors of its file: the pyramid of five dilated convolutions behind one 1×1 reduction,
 * hierarchically added; batch norm and PReLU in inference form.
 *
 * Source: Mehta et al., "ESPNet: efficient spatial pyramid of dilated convolutions", ECCV 2018; the authors' code [S].
 */
function pieces(weights: Weights) {
  const get = (name: string) => weightOf("bench.espnet", weights, name);
  const norm = (name: string, x: Value): Value => {
    const part = (of: string) => get(`${name}.${of}`).data;
    const scale = part("weight").map((value, c) => value / Math.sqrt(part("running_var")[c]! + EPSILON));
    const shift = part("bias").map((value, c) => value - part("running_mean")[c]! * scale[c]!);
    const c = scale.length;
    return ops.add(ops.mul(x, tensor("float32", [c, 1, 1], scale)), tensor("float32", [c, 1, 1], shift));
  };
  const act = (name: string, x: Value): Value => {
    const slope = get(`${name}.weight`).data;
    return ops.add(ops.relu(x), ops.mul(ops.minimum(x, 0), tensor("float32", [slope.length, 1, 1], slope)));
  };
  const normAct = (name: string, x: Value): Value => act(`${name}.act`, norm(`${name}.bn`, x));
  const conv = (name: string, x: Value, stride = 1, dilation = 1): Value => {
    const weight = get(`${name}.conv.weight`);
    return ops.conv(x, weight, { stride, dilation, padding: ((weight.shape[2]! - 1) / 2) * dilation });
  };
  /** The pyramid's output, before its batch norm; with the input added where `residual`. */
  const pyramid = (name: string, x: Value, residual: boolean, stride = 1): Value =>
    spread(name, x, conv(`${name}.c1`, x, stride), residual);
  const spread = (name: string, x: Value, reduced: Value, residual: boolean): Value => {
    const branch = (dilation: number) => conv(`${name}.d${dilation}`, reduced, 1, dilation);
    const branches = [branch(1)];
    let sum: Value | undefined;
    for (const dilation of DILATIONS.slice(1)) {
      sum = sum === undefined ? branch(dilation) : ops.add(sum, branch(dilation));
      branches.push(sum);
    }
    const joined = ops.concat(branches, 1);
    return residual ? ops.add(x, joined) : joined;
  };
  const up = (name: string, x: Value): Value => ops.convTranspose(x, get(name), { stride: 2 });
  const halved = (x: Value): Value => ops.averagePool(x, { kernel: 3, stride: 2, padding: 1 });
  return {
    /** Frame [n, 3, h, w] to the end of level 2. */
    first(frame: Value): { readonly half: Value; readonly quarter: Value } {
      const half = halved(frame);
      const one = normAct(
        "encoder.b1",
        ops.concat([normAct("encoder.level1", conv("encoder.level1", frame, 2)), half], 1),
      );
      const two = normAct("encoder.level2_0", pyramid("encoder.level2_0", one, false, 2));
      let x = two;
      for (const block of [0, 1])
        x = normAct(`encoder.level2.${block}.bn`, pyramid(`encoder.level2.${block}`, x, true));
      return { half: one, quarter: normAct("encoder.b2", ops.concat([x, two, halved(half)], 1)) };
    },
    /** End of level 2 to what level 3 begins with. */
    down: (quarter: Value): Value => normAct("encoder.level3_0", pyramid("encoder.level3_0", quarter, false, 2)),
    /** One of level 3's eight blocks; `carry` is what its windows look at where pixels are done. */
    block(index: number, x: Value, carry: (reduced: Value) => Value): Value {
      const name = `encoder.level3.${index}`;
      return normAct(`${name}.bn`, spread(name, x, carry(conv(`${name}.c1`, x)), true));
    },
    /** The end of level 3 from what it began with and its last block. */
    encoded: (begun: Value, last: Value): Value => normAct("encoder.b3", ops.concat([begun, last], 1)),
    /** What the decoder reads of level 3, 12 channels. */
    scores: (encoded: Value): Value => norm("br", ops.conv(encoded, get("encoder.classifier.conv.weight"))),
    /** Logits [n, 12, h, w] of the frame's size. */
    decode(half: Value, quarter: Value, scores: Value): Value {
      const joined = ops.concat([conv("level3_C", quarter), up("up_l3.0.weight", scores)], 1);
      const combined = normAct(
        "combine_l2_l3.1.bn",
        pyramid("combine_l2_l3.1", normAct("combine_l2_l3.0", joined), false),
      );
      const finer = normAct("up_l2.1", up("up_l2.0.weight", combined));
      return up("classifier.weight", normAct("conv", conv("conv", ops.concat([finer, half], 1))));
    },
  };
}

/** ESPNet for frames [3, h, w], sides divisible by 8, in four stages; its void class left out. */
export interface Espnet extends SegmentationNetwork {
  /** Names of the stages' ends, for tables. */
  readonly places: readonly string[];
}

/**
 * ESPNet as trained on CamVid, in four stages that end at the beginning of level 3 (⅛ of the frame), after four of its
 * eight blocks, at its end, and at the decoder's. Where a pixel is done, what its neighbours look at is carried: the reduced channels
 * of every block, predicted from the features at the exit before (`fitCarries`). The twelfth output, the void class, is left out: no pixel
 * is answered with it.
 *
 * @throws InputError on a missing weight or sides that 8 does not divide.
 */
export function espnet(weights: Weights, [height, width]: readonly [number, number]): Espnet {
  if (height % 8 !== 0 || width % 8 !== 0) {
    throw new InputError("bench.espnet", "a frame's sides must be divisible by 8", `${height} × ${width}`);
  }
  const parts = pieces(weights);
  const blocks = (from: number, to: number, x: Value, carry: (after: Value, before: Value) => Value): Value => {
    let current = x;
    for (let index = from; index < to; index++) current = parts.block(index, current, (reduced) => carry(reduced, x));
    return current;
  };
  return {
    frame: [3, height, width],
    classes: 11,
    places: ["level 3 begun", "half of level 3", "level 3", "decoder"],
    stages: [
      {
        compute: ({ frame }) => {
          const { half, quarter } = parts.first(frame!);
          return { half, quarter, begun: parts.down(quarter) };
        },
        tap: "begun",
      },
      {
        compute: ({ begun }, carry) => ({ x: carry(blocks(0, 4, begun!, carry), begun!) }),
        tap: "x",
        source: "begun",
      },
      {
        compute: ({ begun, x }, carry) => {
          const encoded = parts.encoded(begun!, blocks(4, 8, x!, carry));
          return { encoded, scores: carry(parts.scores(encoded), x!) };
        },
        tap: "encoded",
        source: "x",
      },
      {
        compute: ({ half, quarter, scores }) => ({
          logits: ops.slice(parts.decode(half!, quarter!, scores!), { axis: 1, to: 11 }),
        }),
        tap: "logits",
      },
    ],
  };
}
