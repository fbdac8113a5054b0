export { accumulate } from "./accumulate.ts";
export type { AdamOptions } from "./adam.ts";
export { adam, adamW } from "./adam.ts";
export type { Clipped } from "./clip.ts";
export { clipByGlobalNorm } from "./clip.ts";
export type { Mask, Optimiser, Updated, UpdateOptions } from "./optimiser.ts";
export type { SgdOptions } from "./sgd.ts";
export { sgd } from "./sgd.ts";
