import { attentions } from "./attention.ts";
import { elementwise } from "./elementwise.ts";
import { linear } from "./linear.ts";
import { normalisations } from "./normalise.ts";
import { reductions } from "./reduce.ts";
import { resizing } from "./resize.ts";
import type { Rule } from "./rule.ts";
import { selections } from "./select.ts";
import { shapes } from "./shape.ts";
import { spatial } from "./spatial.ts";

/** Every operator of the standard that can be imported, by its name. */
export const rules: ReadonlyMap<string, Rule> = new Map(
  [elementwise, reductions, shapes, selections, linear, attentions, spatial, resizing, normalisations].flatMap(
    Object.entries,
  ),
);
