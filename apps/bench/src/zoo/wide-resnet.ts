import { type Generator, generator, ops, type Tensor, tensor, type Value } from "@exitkit/core-gpu";
import { type Backbone, makeBackbone } from "./backbone.ts";
import { EPSILON } from "./resnet.ts";
import { type Four, NORM } from "./weights.ts";

/**
 * Wide ResNet WRN-16-4 for 32×32 pictures with seeded random weights: for timing only, its answers mean nothing. A 3×3 stem
 * of 16 channels, 3 groups of 2 pre-activation blocks of 64, 128, 256 channels, the second and third beginning with stride
 * 2, 1×1 convolutions as shortcuts where the shape changes, a last batch norm, global average pool and a linear layer. The
 * weights are He-initialised, N(0, 2 ÷ (inputs · kernel area)); batch norms are in inference mode with mean 0, variance 1.
 *
 * @param seed Of the weights. Default 1.
 * Source: Zagoruyko and Komodakis, "Wide Residual Networks", 2016, table 1.
 */
export function wideResnet16x4(seed = 1): Backbone {
  const random = generator(seed);
  const weights: Record<string, Tensor> = { "conv1.weight": heNormal(random, [16, 3, 3, 3]) };
  const layers: Block[] = [];
  let channels = 16;
  for (const [group, width] of [64, 128, 256].entries()) {
    for (const index of [0, 1]) {
      const name = `group${group + 1}.${index}`;
      layers.push({ name, stride: group > 0 && index === 0 ? 2 : 1, changes: channels !== width });
      addNorm(weights, `${name}.bn1`, channels);
      weights[`${name}.conv1.weight`] = heNormal(random, [width, channels, 3, 3]);
      addNorm(weights, `${name}.bn2`, width);
      weights[`${name}.conv2.weight`] = heNormal(random, [width, width, 3, 3]);
      if (channels !== width) weights[`${name}.shortcut.weight`] = heNormal(random, [width, channels, 1, 1]);
      channels = width;
    }
  }
  addNorm(weights, "bn", channels);
  weights["linear.weight"] = heNormal(random, [10, channels]);
  weights["linear.bias"] = tensor("float32", [10]);
  // After a width's last block only its activation crosses: the next block's shortcut reads that, not the sum before it.
  return makeBackbone({ name: "WRN-16-4", exitsAfter: [2, 4] }, weights, (input, w) => {
    const normRelu = (x: Value, name: string) => {
      const [scale, bias, mean, variance] = NORM.map((part) => w[`${name}.${part}`]!) as Four<Value>;
      return ops.relu(ops.batchNorm(x, scale, bias, mean, variance, { epsilon: EPSILON }));
    };
    let x = ops.conv(input, w["conv1.weight"]!, { padding: 1 });
    const norms = [...layers.slice(1).map(({ name }) => `${name}.bn1`), "bn"];
    let active = normRelu(x, `${layers[0]!.name}.bn1`);
    const blocks = [active];
    for (const [index, { name, stride, changes }] of layers.entries()) {
      const middle = ops.conv(active, w[`${name}.conv1.weight`]!, { stride, padding: 1 });
      const y = ops.conv(normRelu(middle, `${name}.bn2`), w[`${name}.conv2.weight`]!, { padding: 1 });
      x = ops.add(y, changes ? ops.conv(active, w[`${name}.shortcut.weight`]!, { stride }) : x);
      active = normRelu(x, norms[index]!);
      blocks.push(active);
    }
    const pooled = ops.flatten(ops.globalAveragePool(active));
    return { logits: ops.linear(pooled, w["linear.weight"]!, w["linear.bias"]!), blocks };
  });
}

interface Block {
  readonly name: string;
  readonly stride: number;
  readonly changes: boolean;
}

function addNorm(weights: Record<string, Tensor>, name: string, channels: number): void {
  for (const part of NORM) {
    const value = part === "weight" || part === "running_var" ? 1 : 0;
    weights[`${name}.${part}`] = tensor("float32", [channels], new Float32Array(channels).fill(value));
  }
}

/** Normal numbers of variance 2 ÷ fan-in; the first dimension of `shape` is the outputs. */
function heNormal(random: Generator, shape: readonly number[]): Tensor<"float32"> {
  const fanIn = shape.slice(1).reduce((product, size) => product * size, 1);
  const deviation = Math.sqrt(2 / fanIn);
  const size = fanIn * shape[0]!;
  return tensor(
    "float32",
    shape,
    Float32Array.from({ length: size }, () => random.normal() * deviation),
  );
}
