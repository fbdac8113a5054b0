import { FULL_RECIPE, type Recipe } from "../../training/recipe.ts";
import type { Method } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";

/** What a preset decides. */
export interface RivalSettings {
  /** The pretrained network of CIFAR-10. */
  readonly pretrained: "resnet20" | "resnet56";
  /** How the network of each other data set is trained before the comparison, and its layers. */
  readonly recipes: Readonly<Record<Exclude<RivalDataset, "cifar10">, Recipe>>;
  readonly depth: number;
  /** Training and test pictures at most. */
  readonly train: number;
  readonly test: number;
  /** Epochs of the unlimited budget, and pictures of a training step. */
  readonly epochs: number;
  readonly batch: number;
  /** What the peak memory is measured of; "plain" is the network without exits. */
  readonly memory: readonly (Exclude<Method, "bwds"> | "plain")[];
  /** Rounds of a timing, and pictures timed a round at most. */
  readonly rounds: number;
  readonly timedPictures: number;
}

const recipes = (cifar100: number, fashion: number, digits: number, changed: Partial<Recipe> = {}) => {
  const recipe = (epochs: number): Recipe => ({ ...FULL_RECIPE, ...changed, epochs });
  return {
    cifar100: recipe(cifar100),
    "fashion-mnist": recipe(fashion),
    kmnist: recipe(digits),
    mnist: recipe(digits),
  };
};

const trained = ["sdn", "sdn-joint", "branchynet", "e2cm-sdn", "e2cm-sdn-shared"] as const;
const common = { depth: 20, memory: ["plain", "e2cm", "e2cm-places", "e2cm-euclidean", ...trained] as const };

/** The settings of both presets. */
export const SETTINGS: Readonly<Record<"quick" | "full", RivalSettings>> = {
  quick: {
    ...common,
    pretrained: "resnet20",
    recipes: recipes(3, 3, 2, { batch: 64, peakLearningRate: 0.1, warmUp: 0.3 }),
    train: 5000,
    test: 2500,
    epochs: 2,
    batch: 64,
    rounds: 3,
    timedPictures: 512,
  },
  full: {
    ...common,
    pretrained: "resnet56",
    recipes: recipes(30, 6, 4),
    train: Number.POSITIVE_INFINITY,
    test: Number.POSITIVE_INFINITY,
    epochs: 25,
    batch: 128,
    rounds: 5,
    timedPictures: 2048,
  },
};
