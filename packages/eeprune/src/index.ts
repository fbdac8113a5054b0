// What an example with this package alone needs.
export { generator } from "@exitkit/core-gpu";
export type { Column } from "./columns/column.ts";
export {
  type EarlyExitColumns,
  type PruneOptions,
  pruneByEarlyExit,
  type Shortfall,
} from "./criterion/prune-by-early-exit.ts";
export type { Selection, Vanishing } from "./selection/selection.ts";
