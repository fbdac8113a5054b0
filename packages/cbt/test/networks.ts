import { generator, ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";
import type { SegmentationExitNetwork } from "../src/index.ts";

/** Weights drawn from a seed, scaled to keep features' size. */
function drawn(seed: number) {
  const random = generator(seed);
  return (...shape: number[]): Tensor<"float32"> => {
    const inner = shape.slice(1).reduce((product, side) => product * side, 1);
    const size = inner * shape[0]!;
    return tensor(
      "float32",
      shape,
      Array.from({ length: size }, () => random.normal() / Math.sqrt(Math.max(1, inner))),
    );
  };
}

/**
 * Three stages over frames [3, 18, 22]: a stem at ½; a strided convolution to the decisions' grid [9, 11] before it, then residual blocks
 * with dilated branches, joined; a last stage at the frame's size. Everything a real network does: strides, dilations, concatenation,
 * channel-wise factors, pooled context in the heads.
 */
export function smallNetwork(seed = 1): SegmentationExitNetwork {
  const weight = drawn(seed);
  const [stem, down] = [weight(6, 3, 3, 3), weight(8, 6, 3, 3)];
  const block = () => ({
    reduce: weight(4, 8, 1, 1),
    one: weight(4, 4, 3, 3),
    three: weight(4, 4, 3, 3),
    scale: weight(8, 1, 1),
    shift: weight(8, 1, 1),
    bias: weight(4),
  });
  const blocks = [block(), block(), block()];
  const heads = [weight(5, 8, 1, 1), weight(5, 8, 1, 1)];
  const [up, last] = [weight(8, 5, 2, 2), weight(5, 11, 3, 3)];
  const run = (x: Value, { reduce, one, three, scale, shift, bias }: ReturnType<typeof block>): Value => {
    const small = ops.conv(x, reduce, { bias });
    const near = ops.conv(small, one, { padding: 1 });
    const far = ops.add(near, ops.conv(small, three, { padding: 3, dilation: 3 }));
    return ops.relu(ops.add(ops.mul(ops.add(x, ops.concat([near, far], 1)), ops.add(scale, 1)), shift));
  };
  const head = (kernel: Tensor) => (tap: Value) => {
    const logits = ops.mul(ops.conv(tap, kernel), 3);
    return ops.add(logits, ops.averagePool(logits, { kernel: 3, stride: 1, padding: 1, countPadding: false }));
  };
  return {
    frame: [3, 18, 22],
    classes: 5,
    stages: [
      {
        compute: ({ frame }) => {
          const x = ops.relu(ops.conv(ops.conv(frame!, stem, { padding: 1 }), down, { stride: 2, padding: 1 }));
          return { fine: frame!, x };
        },
        tap: "x",
      },
      {
        compute: ({ x }, carry) => {
          const one = carry(run(x!, blocks[0]!), x!);
          return { x: carry(run(one, blocks[1]!), one) };
        },
        tap: "x",
      },
      {
        compute: ({ x, fine }, carry) => {
          const deep = carry(run(x!, blocks[2]!), x!);
          const finer = ops.concat([ops.convTranspose(deep, up, { stride: 2 }), fine!, fine!], 1);
          return { logits: ops.conv(finer, last, { padding: 1 }) };
        },
        tap: "logits",
      },
    ],
    heads: heads.map(head),
  };
}

/** The same with a last stage on the decisions' grid, and a strided convolution behind the first exit. */
export function coarseNetwork(seed = 2): SegmentationExitNetwork {
  const small = smallNetwork(seed);
  const weight = drawn(seed + 100);
  const [stem, down, last] = [weight(4, 3, 3, 3), weight(8, 4, 3, 3), weight(5, 8, 1, 1)];
  return {
    ...small,
    heads: small.heads.slice(0, 1),
    stages: [
      {
        compute: ({ frame }) => {
          const fine = ops.relu(ops.conv(frame!, stem, { padding: 1 }));
          return {
            fine,
            x: ops.concat([ops.averagePool(fine, { kernel: 2 }), ops.averagePool(fine, { kernel: 2 })], 1),
          };
        },
        tap: "x",
      },
      {
        compute: ({ x, fine }, carry) => ({
          logits: ops.conv(carry(ops.conv(fine!, down, { stride: 2, padding: 1 }), x!), last),
        }),
        tap: "logits",
      },
    ],
  };
}

/** A frame for either network. */
export function frameOf(seed: number, n = 1): Tensor<"float32"> {
  const random = generator(seed);
  return tensor(
    "float32",
    [n, 3, 18, 22],
    Array.from({ length: n * 3 * 18 * 22 }, () => random.normal()),
  );
}
