export type { FinalNorm, StateNorm } from "./norms.ts";
export type { StatesBatch, StatesBatches } from "./states.ts";
export { type AccumulateTokensOptions, accumulateTokens } from "./statistics/accumulate.ts";
export { loadTokens, saveTokens } from "./statistics/statistics-file.ts";
export { type CrossSums, mergeTokens, statisticsBytes, type TokenStatistics } from "./statistics/token-statistics.ts";
export { type NextTokenPairs, nextTokenPairs, type PairsOptions } from "./tokens/pairs.ts";
