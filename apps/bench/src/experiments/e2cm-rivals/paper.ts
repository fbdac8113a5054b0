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

/**
 * Points (fraction of the FLOPs, accuracy) of the one-epoch figure, read from its pixels to ± .005. Source: slide 19 [M].
 */
export const FIGURE: readonly {
  readonly dataset: RivalDataset;
  readonly network: string;
  readonly method: string;
  readonly points: readonly (readonly [number, number])[];
}[] = [
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "e2cm-euclidean",
    points: [
      [0.07, 0.3],
      [0.08, 0.4],
      [0.095, 0.47],
      [0.12, 0.56],
      [0.23, 0.8],
      [0.3, 0.866],
      [0.36, 0.879],
      [0.52, 0.887],
      [0.6, 0.889],
      [0.99, 0.895],
    ],
  },
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "sdn",
    points: [
      [0.16, 0.36],
      [0.18, 0.41],
      [0.26, 0.6],
      [0.42, 0.825],
      [0.49, 0.846],
      [0.6, 0.885],
      [1, 0.89],
    ],
  },
  {
    dataset: "cifar10",
    network: "ResNet-152",
    method: "branchynet",
    points: [
      [0.31, 0.13],
      [0.4, 0.15],
      [1.01, 0.19],
      [1.1, 0.2],
      [1.29, 0.21],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "e2cm-euclidean",
    points: [
      [0.01, 0.41],
      [0.04, 0.52],
      [0.19, 0.864],
      [0.24, 0.917],
      [0.41, 0.954],
      [1, 0.96],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "sdn",
    points: [
      [0.19, 0.36],
      [0.26, 0.58],
      [0.39, 0.78],
      [0.45, 0.85],
      [0.58, 0.916],
      [0.65, 0.923],
      [0.69, 0.925],
      [1, 0.96],
    ],
  },
  {
    dataset: "kmnist",
    network: "WRN-101",
    method: "branchynet",
    points: [
      [0.16, 0.65],
      [1.16, 0.66],
    ],
  },
];
