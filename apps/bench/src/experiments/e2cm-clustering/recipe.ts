/**
 * How a data set is clustered: IDEC's constants [S]. Differs: 2·10⁴ steps at most there, and hundreds of epochs for the autoencoder;
 * here what ten runs have room for in half an hour on two cores.
 */
export const FULL_RECIPE = {
  /** Sizes of the encoder's layers behind the pixels; the last is the code's. */
  layers: [500, 500, 2000, 10] as readonly number[],
  /** k: number of clusters; the number of classes. */
  clusters: 10,
  /** Pictures a step and Adam's learning rate, in both trainings. */
  batch: 256,
  learningRate: 1e-3,
  /** Passes of the autoencoder's own training over the pictures. */
  pretrainingEpochs: 8,
  /** Starts of k-means on some codes, drawn at random; the one with the least sum of squares goes on with all codes. */
  kmeansStarts: 20,
  kmeansSample: 12_000,
  /** γ: weight of the clustering beside the reconstruction. */
  gamma: 0.1,
  /** Steps between two updates of the target distribution, and updates after which the clustering ends at the latest. */
  updateEvery: 140,
  mostUpdates: 10,
  /** The clustering ends when fewer than this share of the pictures change their cluster from one update to the next. */
  tolerance: 1e-3,
};

export type Recipe = Readonly<typeof FULL_RECIPE>;

/** The recipe of the quick preset: enough on some thousand pictures to see clusters form. */
export const QUICK_RECIPE: Recipe = {
  ...FULL_RECIPE,
  pretrainingEpochs: 15,
  kmeansSample: 6000,
  updateEvery: 40,
  mostUpdates: 5,
};
