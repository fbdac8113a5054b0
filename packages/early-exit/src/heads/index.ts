export { type ConvHeadOptions, conv } from "./conv.ts";
export type { Extra } from "./extra.ts";
export type { Head, HeadResult } from "./head.ts";
export { type ExtraOptions, type LinearHeadOptions, linear, type Tokens } from "./linear.ts";
export { type MixedPoolOptions, mixedPool } from "./mixed-pool.ts";
