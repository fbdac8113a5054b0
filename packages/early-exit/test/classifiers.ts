import { generator, type Model, ops, programToModel, spec, tensor, trace } from "@exitkit/core-gpu";

/** Classes that classifiers tell apart. */
export const K = 5;

/** What differs from classifier to classifier. */
interface ClassifierShape {
  readonly size?: number;
  readonly k?: number;
  readonly opset?: number;
  readonly outputs?: 1 | 2;
  readonly inputs?: 1 | 2;
}

/** A convolution, a pool and a linear layer with seeded weights: x [n, 3, size, size] → logits [n, k]. */
export function classifier(seed: number, channels: number, shape: ClassifierShape = {}): Model {
  const { size = 6, k = K, opset = 17, outputs = 1, inputs = 1 } = shape;
  const random = generator(seed);
  const weights = (dims: readonly number[], spread: number) => {
    const count = dims.reduce((a, b) => a * b);
    return tensor(
      "float32",
      dims,
      Float32Array.from({ length: count }, () => random.normal() * spread),
    );
  };
  const input = spec("float32", ["n", 3, size, size]);
  const program = trace(
    ({ x, y }: { x: ReturnType<typeof ops.relu>; y?: ReturnType<typeof ops.relu> }) => {
      const given = y === undefined ? x : ops.add(x, y);
      const hidden = ops.relu(ops.conv(given, weights([channels, 3, 3, 3], 0.4), { padding: 1 }));
      const logits = ops.linear(
        ops.flatten(ops.globalAveragePool(hidden)),
        weights([k, channels], 2),
        weights([k], 0.3),
      );
      return outputs === 1 ? { logits } : { logits, twice: ops.add(logits, logits) };
    },
    inputs === 1 ? { x: input } : { x: input, y: input },
  );
  return programToModel(program, { opset });
}
