import { checkArguments } from "../arguments.ts";
import { InputError } from "../errors.ts";
import type { Generator } from "../random.ts";
import { type Tensor, tensor } from "../tensor.ts";

/**
 * Each picture shifted by whole pixels, as if it were padded by zeros and cropped at random to its own size: offsets
 * uniform in −padding … padding, drawn row first for each picture. x [n, c, h, w].
 *
 * @param padding Whole number ≥ 0; 4 for CIFAR.
 * @throws InputError unless x has four dimensions.
 */
export function randomCrop(x: Tensor<"float32">, padding: number, generator: Generator): Tensor<"float32"> {
  checkArguments("core-gpu.training.randomCrop", {
    x: [x, "a tensor"],
    padding: [padding, "a number"],
    generator: [generator, "a generator"],
  });
  const [n, c, h, w] = pictures("randomCrop", x);
  const made = tensor("float32", x.shape);
  for (let picture = 0; picture < n; picture++) {
    const down = generator.integer(2 * padding + 1) - padding;
    const right = generator.integer(2 * padding + 1) - padding;
    const from = Math.max(0, right);
    const width = w - Math.abs(right);
    if (width <= 0) continue;
    for (let channel = 0; channel < c; channel++) {
      const start = (picture * c + channel) * h * w;
      for (let row = Math.max(0, -down); row < Math.min(h, h - down); row++) {
        const source = start + (row + down) * w + from;
        made.data.set(x.data.subarray(source, source + width), start + row * w + Math.max(0, -right));
      }
    }
  }
  return made;
}

/**
 * Each picture mirrored left to right with probability one half. x [n, c, h, w].
 *
 * @throws InputError unless x has four dimensions.
 */
export function randomFlip(x: Tensor<"float32">, generator: Generator): Tensor<"float32"> {
  checkArguments("core-gpu.training.randomFlip", { x: [x, "a tensor"], generator: [generator, "a generator"] });
  const [n, c, h, w] = pictures("randomFlip", x);
  const made = tensor("float32", x.shape, x.data.slice());
  for (let picture = 0; picture < n; picture++) {
    if (generator.integer(2) === 0) continue;
    for (let row = picture * c * h; row < (picture + 1) * c * h; row++) {
      made.data.subarray(row * w, (row + 1) * w).reverse();
    }
  }
  return made;
}

function pictures(name: string, { shape }: Tensor): [number, number, number, number] {
  if (shape.length !== 4) {
    throw new InputError(`core-gpu.training.${name}`, "x must be [n, c, h, w]", `[${shape.join(", ")}]`);
  }
  return shape as unknown as [number, number, number, number];
}
