import * as util from "node:util";
import { InputError } from "../errors.ts";

/** What of the running Node decides whether tfjs's native binding works in it. */
export interface NodeFacts {
  readonly version: string;
  readonly hasIsNullOrUndefined: boolean;
}

/**
 * Refuses `tfjs-node` and `tfjs-node-gpu` (back end `tensorflow`) in a Node without `util.isNullOrUndefined`, which they
 * call and which went in Node 23: otherwise the first operator would fail with "isNullOrUndefined is not a function".
 */
export function checkNodeBinding(caller: string, backend: string, facts: NodeFacts = thisNode()): void {
  if (backend !== "tensorflow" || facts.hasIsNullOrUndefined) return;
  throw new InputError(
    caller,
    "tfjs-node and tfjs-node-gpu need a Node with util.isNullOrUndefined (18 to 22)",
    `Node ${facts.version}, which no longer has it`,
    'Use Node 22, or another back end of tfjs, or before loading tfjs: require("node:util").isNullOrUndefined = (x) => x == null.',
  );
}

function thisNode(): NodeFacts {
  // What a program adds to the module is seen on its default export only.
  const { default: module } = util as unknown as { default: object };
  return { version: process.versions.node, hasIsNullOrUndefined: "isNullOrUndefined" in module };
}
