export type { Criterion, ScoringContext } from "./criterion.ts";
export { magnitude } from "./magnitude.ts";
export { random } from "./random.ts";
export { type TaylorOptions, taylor } from "./taylor.ts";
