import type { RivalDataset } from "./datasets.ts";

/** Cost fractions of the poster's table. */
export const POSTER_FRACTIONS: readonly number[] = [0.15, 0.2, 0.25, 0.3];

/**
 * The poster's table: accuracy at those fractions of the FLOPs, ResNet-152 on CIFAR-10. Its network and its counter of FLOPs
 * are others than ours. Source: ijcnn_poster.pdf [S].
 */
export const POSTER: readonly { readonly method: string; readonly accuracies: readonly number[] }[] = [
  { method: "e2cm-sdn", accuracies: [0.824, 0.864, 0.885, 0.888] },
  { method: "sdn", accuracies: [0.8, 0.86, 0.884, 0.888] },
  { method: "bwds", accuracies: [0.82, 0.841, 0.86, 0.877] },
  { method: "branchynet", accuracies: [0.8, 0.8, 0.8, 0.8] },
];

/** The one-epoch figure: fraction of the FLOPs, accuracy, read from its pixels to ± .005. Source: slide 19 [M]. */
export const FIGURE = [
  curve("cifar10", "ResNet-152", "e2cm-euclidean", [
    [0.07, 0.08, 0.095, 0.12, 0.23, 0.3, 0.36, 0.52, 0.6, 0.99],
    [0.3, 0.4, 0.47, 0.56, 0.8, 0.866, 0.879, 0.887, 0.889, 0.895],
  ]),
  curve("cifar10", "ResNet-152", "sdn", [
    [0.16, 0.18, 0.26, 0.42, 0.49, 0.6, 1],
    [0.36, 0.41, 0.6, 0.825, 0.846, 0.885, 0.89],
  ]),
  curve("cifar10", "ResNet-152", "branchynet", [
    [0.31, 0.4, 1.01, 1.1, 1.29],
    [0.13, 0.15, 0.19, 0.2, 0.21],
  ]),
  curve("kmnist", "WRN-101", "e2cm-euclidean", [
    [0.01, 0.04, 0.19, 0.24, 0.41, 1],
    [0.41, 0.52, 0.864, 0.917, 0.954, 0.96],
  ]),
  curve("kmnist", "WRN-101", "sdn", [
    [0.19, 0.26, 0.39, 0.45, 0.58, 0.65, 0.69, 1],
    [0.36, 0.58, 0.78, 0.85, 0.916, 0.923, 0.925, 0.96],
  ]),
  curve("kmnist", "WRN-101", "branchynet", [
    [0.16, 1.16],
    [0.65, 0.66],
  ]),
];

function curve(
  dataset: RivalDataset,
  network: string,
  method: string,
  [costs, accuracies]: readonly [number[], number[]],
) {
  return { dataset, network, method, points: costs.map((cost, at): [number, number] => [cost, accuracies[at]!]) };
}
