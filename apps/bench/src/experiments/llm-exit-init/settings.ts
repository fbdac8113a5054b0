/** What a preset decides of one model. */
export interface Plan {
  /** Tokens that statistics are of, that weights and temperatures are fitted on, and that are reported on. */
  readonly fit: number;
  readonly calibration: number;
  readonly test: number;
  /** Tokens of a window. */
  readonly window: number;
  /** Exits are put behind these blocks. */
  readonly layers: readonly number[];
  /** The exit whose α and training are looked at. */
  readonly layer: number;
  readonly alphas: readonly number[];
  /** N₀ as multiples of its estimate. */
  readonly factors: readonly number[];
  /** null: not trained. */
  readonly training: TrainingPlan | null;
  /** Windows that speed is measured on. */
  readonly timed: number;
  /** Hidden units of the widest heads; null: none are made. */
  readonly hidden: number | null;
  /** null: not looked at. */
  readonly shift: ShiftPlan | null;
}

/** How heads are trained. */
export interface TrainingPlan {
  readonly settings: readonly ("frozen" | "not frozen")[];
  readonly tokens: number;
  /** Tokens that every epoch is judged on, from the test text. */
  readonly judged: number;
  /** Tokens of a sequence. */
  readonly length: number;
  readonly batch: number;
  readonly epochs: number;
  /** Runs of each; not frozen, every head takes a run of its own. */
  readonly seeds: Readonly<Record<"frozen" | "not frozen", number>>;
  readonly learningRates: Readonly<Record<"frozen" | "not frozen", number>>;
  /** Rates at which it is looked whether a head gets worse at first; none: it is not. */
  readonly rates: readonly number[];
}

/** Text of another kind that a model is to be used on. */
export interface ShiftPlan {
  /** Tokens of it that heads are made anew from. */
  readonly tokens: readonly number[];
  readonly calibration: number;
  readonly test: number;
  /** Epochs that the old heads are trained on it. */
  readonly epochs: number;
}

/** A decoder that is trained here. */
export interface DecoderPlan {
  readonly name: string;
  readonly blocks: number;
  readonly width: number;
  readonly heads: number;
  readonly keyHeads: number;
  readonly hidden: number;
  readonly vocabulary: number;
  /** Tokens of the fitted text that it is trained on, and of a sequence. */
  readonly tokens: number;
  readonly length: number;
  readonly batch: number;
  readonly epochs: number;
  readonly learningRate: number;
}

/** What a preset decides. */
export interface Settings {
  readonly stories: Plan;
  /** A decoder that is trained here first; null where the preset is too short for it. */
  readonly tales: (Plan & { readonly decoder: DecoderPlan }) | null;
  /** SmolLM2-135M where the data folder has it; null where the preset is too short for it. */
  readonly smollm2: Plan | null;
}

/** The decoder is trained already: small steps. */
const RATES = { frozen: 1e-3, "not frozen": 3e-4 } as const;

export const QUICK: Settings = {
  stories: {
    ...{ fit: 60_000, calibration: 8_000, test: 12_000, window: 256 },
    ...{ layers: [1, 2, 3, 4], layer: 2, alphas: [0.2, 0.6, 1], factors: [1, 4] },
    training: {
      ...{ settings: ["frozen"], tokens: 16_000, judged: 6_000, length: 64, batch: 16 },
      ...{ epochs: 2, seeds: { frozen: 1, "not frozen": 1 }, learningRates: RATES },
      rates: [],
    },
    ...{ timed: 32, hidden: null, shift: null },
  },
  tales: null,
  smollm2: null,
};

/** How heads of the small decoders are trained in full. */
const TRAINING: TrainingPlan = {
  ...{ settings: ["frozen", "not frozen"], tokens: 24_000, judged: 8_000, length: 64, batch: 16 },
  ...{ epochs: 10, seeds: { frozen: 3, "not frozen": 1 }, learningRates: RATES },
  rates: [1e-4, 1e-3, 1e-2, 1e-1],
};

export const FULL: Settings = {
  stories: {
    ...{ fit: 600_000, calibration: 16_000, test: 60_000, window: 256 },
    ...{ layers: [1, 2, 3, 4], layer: 2, alphas: [0, 0.2, 0.4, 0.6, 0.8, 1], factors: [0.25, 0.5, 1, 2, 4, 8, 16] },
    training: TRAINING,
    ...{ timed: 32, hidden: 256 },
    shift: { tokens: [2000, 8000, 32_000], calibration: 8000, test: 16_000, epochs: 3 },
  },
  tales: {
    decoder: {
      ...{ name: "tales-659K", blocks: 6, width: 96, heads: 6, keyHeads: 3, hidden: 256, vocabulary: 512 },
      ...{ tokens: 600_000, length: 128, batch: 16, epochs: 3, learningRate: 2e-3 },
    },
    ...{ fit: 600_000, calibration: 16_000, test: 60_000, window: 256 },
    ...{ layers: [1, 2, 3, 4, 5], layer: 3, alphas: [0, 0.2, 0.4, 0.6, 0.8, 1], factors: [0.25, 0.5, 1, 2, 4, 8, 16] },
    training: {
      ...TRAINING,
      ...{ settings: ["frozen"], tokens: 8_000, judged: 4_000, rates: [] },
    },
    ...{ timed: 32, hidden: null, shift: null },
  },
  smollm2: {
    ...{ fit: 80_000, calibration: 3_000, test: 5_000, window: 256 },
    ...{ layers: [10, 15, 20], layer: 15, alphas: [0.6, 1], factors: [1, 4, 16] },
    ...{ training: null, timed: 2, hidden: null, shift: null },
  },
};
