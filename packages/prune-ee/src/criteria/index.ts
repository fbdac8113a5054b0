export { type ActivationOptions, activation } from "./activation.ts";
export type { Criterion, ScoringContext } from "./criterion.ts";
export { magnitude } from "./magnitude.ts";
export { type MovementOptions, movement } from "./movement.ts";
export { random } from "./random.ts";
export { type TaylorOptions, taylor } from "./taylor.ts";
