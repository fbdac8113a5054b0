import { tensor } from "../../src/tensor.ts";
import { type Dataset, tensorDataset } from "../../src/training/dataset.ts";

/** Five samples; a batch has noise of its own. */
export function noisy(): Dataset {
  const numbers = {
    x: tensor("float32", [5, 2], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    y: tensor("int64", [5], [0, 1, 2, 3, 4]),
  };
  return tensorDataset(numbers, {
    augment: ({ x, ...others }, random) => ({
      x: tensor(
        "float32",
        x!.shape,
        (x!.data as Float32Array).map((value) => value + random.normal()),
      ),
      ...others,
    }),
  });
}
