import type { MethodName } from "@exitkit/eeprune";

/** What a preset of this experiment decides. */
export interface Settings {
  /** Training pictures, the first of the data set; null for all. */
  readonly pictures: number | null;
  /** Test pictures, the first; null for all. */
  readonly test: number | null;
  readonly seeds: number;
  /** Epochs of a training on the whole set. */
  readonly epochs: number;
  /** Epochs of the brief run that chooses. */
  readonly briefEpochs: number;
  readonly batch: number;
  readonly ratios: readonly number[];
  readonly methods: readonly MethodName[];
  /** Methods and ratios that are trained on the kept set with as many steps as the whole set gets, too. */
  readonly equalSteps: { readonly methods: readonly MethodName[]; readonly ratios: readonly number[] };
  /** Whether the further studies run: places of the exit, what was pruned against what was kept, the head as a control, wrong labels. */
  readonly studies: boolean;
}

const RIVALS: readonly MethodName[] = ["random", "eeprune", "coverage", "el2n", "forgetting", "areaUnderMargin"];

/** A minute on the repository's pictures: that everything runs and counts right, not who wins. */
export const QUICK: Settings = {
  pictures: 1200,
  test: 1000,
  seeds: 1,
  epochs: 4,
  briefEpochs: 4,
  batch: 50,
  ratios: [0.3],
  methods: ["random", "eeprune", "coverage", "el2n"],
  equalSteps: { methods: ["eeprune"], ratios: [0.3] },
  studies: false,
};

/** All pictures, three seeds; about ten hours on two cores that have nothing else to do. */
export const FULL: Settings = {
  pictures: null,
  test: null,
  seeds: 3,
  epochs: 15,
  briefEpochs: 5,
  batch: 128,
  ratios: [0.1, 0.3, 0.5, 0.7, 0.9],
  methods: [...RIVALS, "balancedRandom", "margin", "grand", "moderate", "herding"],
  equalSteps: { methods: ["random", "eeprune", "coverage"], ratios: [0.3, 0.5, 0.7] },
  studies: true,
};

/** What `--reduced` makes of the full preset: what two busy cores can do in about an hour. */
export const REDUCED: Settings = {
  ...FULL,
  pictures: 20_000,
  epochs: 8,
  briefEpochs: 4,
  ratios: [0.5, 0.3, 0.7],
  methods: RIVALS,
  equalSteps: { methods: ["random", "eeprune", "coverage"], ratios: [0.5] },
};
