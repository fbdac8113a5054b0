/**
 * The paper's accuracies of the early exit's next token by epoch, OPT-125M on WikiText-2 (v1), read from the author's figures to ±.002;
 * those that could only be seen roughly are left out (null).
 */
export const PAPER = {
  "not frozen": {
    random: [0, 0.216, 0.267, 0.293, 0.303, 0.307, 0.311, 0.312, 0.314, 0.314, 0.312],
    copy: [0.055, 0.327, 0.352, 0.357, 0.358, 0.357, 0.35, 0.343, 0.335, 0.33, 0.325],
    classAware: [0.243, 0.298, 0.316, 0.321, 0.324, 0.325, 0.324, 0.322, null, null, null],
  },
  frozen: {
    random: [0, 0, 0, 0, 0, 0, 0.001, 0.005, 0.007, 0.008, 0.018],
    copy: [0.055, 0.058, 0.08, 0.123, 0.135, 0.157, 0.174, 0.179, 0.182, 0.184, 0.187],
    classAware: [0.243, 0.13, 0.14, 0.165, 0.194, 0.202, 0.21, 0.213, 0.216, 0.221, 0.222],
  },
} as const;

/** Epoch 0 of α·class-aware + (1 − α)·random by α. */
export const PAPER_ALPHA = [
  [1, 0.243],
  [0.8, 0.254],
  [0.6, 0.26],
] as const;
