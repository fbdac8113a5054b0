/** How a ResNet-20 is trained: SGD with Nesterov momentum and a one-cycle schedule. */
export interface Recipe {
  readonly epochs: number;
  /** Pictures a step. What is left over at the end of an epoch is left out; every epoch has another order. */
  readonly batch: number;
  /** The largest learning rate of the cycle. */
  readonly peakLearningRate: number;
  /** Share of the steps in which the learning rate rises. */
  readonly warmUp: number;
  readonly momentum: number;
  /** On filters and matrices; not on biases and batch norms. */
  readonly weightDecay: number;
}

/** The recipe of the full preset; `peers/recipe.json` is the same for PyTorch. */
export const FULL_RECIPE: Recipe = {
  epochs: 15,
  batch: 128,
  peakLearningRate: 0.2,
  warmUp: 0.2,
  momentum: 0.9,
  weightDecay: 5e-4,
};

/** The recipe of the quick preset: a minute on 5,000 pictures, enough to see the loss fall. */
export const QUICK_RECIPE: Recipe = { ...FULL_RECIPE, epochs: 3, batch: 64, peakLearningRate: 0.1, warmUp: 0.3 };
