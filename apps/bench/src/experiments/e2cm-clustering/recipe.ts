/** How a data set is clustered. */
export interface Recipe {
  /** Sizes of the encoder's layers behind the pixels; the last is the code's. */
  readonly layers: readonly number[];
  /** k: number of clusters; the number of classes. */
  readonly clusters: number;
  /** Pictures a step, in both trainings. */
  readonly batch: number;
  /** Adam's, in both trainings. */
  readonly learningRate: number;
  /** Passes of the autoencoder's own training over the pictures. */
  readonly pretrainingEpochs: number;
  /** Starts of k-means; the one with the least sum of squares is kept. */
  readonly kmeansStarts: number;
  /** Codes, drawn at random, that the starts use; the best one goes on with all codes. */
  readonly kmeansSample: number;
  /** γ: weight of the clustering beside the reconstruction. */
  readonly gamma: number;
  /** Steps between two updates of the target distribution. */
  readonly updateEvery: number;
  /** Updates after which the clustering ends at the latest. */
  readonly mostUpdates: number;
  /** The clustering ends when fewer than this share of the pictures change their cluster from one update to the next. */
  readonly tolerance: number;
}

/**
 * IDEC's constants [S]. Differs: 2·10⁴ steps at most there, and hundreds of epochs for the autoencoder; here what ten runs
 * have room for in half an hour on two cores.
 */
export const FULL_RECIPE: Recipe = {
  layers: [500, 500, 2000, 10],
  clusters: 10,
  batch: 256,
  learningRate: 1e-3,
  pretrainingEpochs: 8,
  kmeansStarts: 20,
  kmeansSample: 12_000,
  gamma: 0.1,
  updateEvery: 140,
  mostUpdates: 10,
  tolerance: 1e-3,
};

/** The recipe of the quick preset: enough on some thousand pictures to see clusters form. */
export const QUICK_RECIPE: Recipe = {
  ...FULL_RECIPE,
  pretrainingEpochs: 15,
  kmeansSample: 6000,
  updateEvery: 40,
  mostUpdates: 5,
};
