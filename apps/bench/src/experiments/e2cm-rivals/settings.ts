import { FULL_RECIPE, type Recipe } from "../../training/recipe.ts";
import type { Preset } from "../experiment.ts";
import type { Method } from "./candidate.ts";
import type { RivalDataset } from "./datasets.ts";

/** What a preset decides. */
export interface RivalSettings {
  /** The pretrained network of CIFAR-10. */
  readonly pretrained: "resnet20" | "resnet56";
  /** How the ResNet-20 of each other data set is trained before the comparison. */
  readonly recipes: Readonly<Record<Exclude<RivalDataset, "cifar10">, Recipe>>;
  /** Training and test pictures at most. */
  readonly train: number;
  readonly test: number;
  /** Epochs of the unlimited budget. */
  readonly epochs: number;
  /** Pictures of a training step. */
  readonly batch: number;
  /** Layers of the networks that are trained. */
  readonly depth: number;
  /** What the peak memory is measured of; "plain" is the network without exits. */
  readonly memory: readonly (Exclude<Method, "bwds"> | "plain")[];
  /** Rounds of a timing, and pictures timed a round at most. */
  readonly rounds: number;
  readonly timedPictures: number;
}

const recipes = (epochs: readonly [number, number, number], changed: Partial<Recipe> = {}) => {
  const recipe = (count: number): Recipe => ({ ...FULL_RECIPE, ...changed, epochs: count });
  const [cifar100, fashion, digits] = epochs;
  return {
    cifar100: recipe(cifar100),
    "fashion-mnist": recipe(fashion),
    kmnist: recipe(digits),
    mnist: recipe(digits),
  };
};

const MEMORY = [
  "plain",
  "e2cm",
  "e2cm-places",
  "e2cm-euclidean",
  "sdn",
  "sdn-joint",
  "branchynet",
  "e2cm-sdn",
  "e2cm-sdn-shared",
] as const;

/** The settings of both presets. */
export const SETTINGS: Readonly<Record<Preset, RivalSettings>> = {
  quick: {
    pretrained: "resnet20",
    recipes: recipes([3, 3, 2], { batch: 64, peakLearningRate: 0.1, warmUp: 0.3 }),
    train: 5000,
    test: 2500,
    epochs: 2,
    batch: 64,
    depth: 20,
    memory: MEMORY,
    rounds: 3,
    timedPictures: 512,
  },
  full: {
    pretrained: "resnet56",
    recipes: recipes([30, 6, 4]),
    train: Number.POSITIVE_INFINITY,
    test: Number.POSITIVE_INFINITY,
    epochs: 25,
    batch: 128,
    depth: 20,
    memory: MEMORY,
    rounds: 5,
    timedPictures: 2048,
  },
};
