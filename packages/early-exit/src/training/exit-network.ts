import {
  cutStages,
  type Generator,
  generator,
  InputError,
  layers,
  onnx,
  ops,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { Backbone } from "../backbones/backbone.ts";
import type { Head } from "../heads/index.ts";

/** An early exit to be trained: where it reads, and what it is made of. */
export interface ExitPlan {
  /** Name for people, unique. Default: the tap's. */
  readonly name?: string;
  /** One of the backbone's taps. */
  readonly tap: string;
  readonly head: Head;
}

/** Parameters of an exit network. */
export type ExitParameters<Leaf = Tensor> = {
  readonly backbone: TreeRecord<Leaf>;
  /** `[e − 1]`: of each early exit's head. */
  readonly exits: readonly TreeRecord<Leaf>[];
};

/**
 * What a training step changes: `exits` = the heads alone, the backbone frozen with its running statistics; `all` = both;
 * `nothing` = inference.
 */
export type Trains = "exits" | "all" | "nothing";

/** What an exit network computes for one batch. */
export interface ExitNetworkResult {
  /** `[e]`: logits [n, k] of every exit, the backbone's own last; [n · u, k] where each sample takes u decisions. */
  readonly logits: readonly Value[];
  /** The next running statistics of what is trained, under their paths in {@link ExitParameters}. */
  readonly updated: TreeRecord<Value>;
}

/** A backbone with early exits: plain functions of its parameters. The last exit is the backbone itself. */
export interface ExitNetwork {
  readonly backbone: Backbone;
  /** `[e − 1]` early exits in order. */
  readonly exits: readonly Required<ExitPlan>[];
  /** The backbone's own parameters and first ones for every head. */
  init(random: Generator): ExitParameters;
  /** Logits of every exit for a batch [n, ...] of the backbone's input. */
  apply(params: ExitParameters<Value>, x: Value, options: { readonly trains: Trains }): ExitNetworkResult;
}

/** Name of the last exit. */
export const FULL = "full";

/** A plan's head is checked for itself, to say which exit lacks one. */
const planSchema = z.strictObject({ name: z.string().min(1).optional(), tap: z.string(), head: z.unknown() });

/**
 * Puts early exits on a backbone. Every head is initialised and traced once, to see that it can read its tap.
 *
 * @param exits In the order of the backbone, at least one. Several may read one tap, to be trained side by side under names of their own; such
 * a network has no stages.
 * @throws InputError on no exits, an unknown key of a plan, an unknown tap, a name that is empty, repeated or `full`, taps out of
 * order, or a head that cannot read its tap's features or gives other logits than [n, k].
 * @example
 * ```ts
 * import { generator, proposeCuts, readModelFile } from "@exitkit/core-gpu";
 * import { exitNetwork, heads, importBackbone } from "@exitkit/early-exit";
 * const model = await readModelFile("network.onnx");
 * const taps = proposeCuts(model).slice(1, 3);
 * const network = exitNetwork(importBackbone(model, { taps }), [
 *   { tap: taps[0]!, head: heads.mixedPool() },
 *   { tap: taps[1]!, head: heads.linear() },
 * ]);
 * const params = network.init(generator(1));
 * console.assert(params.exits.length === 2 && network.exits[1]?.name === taps[1]);
 * ```
 */
export function exitNetwork(backbone: Backbone, exits: readonly ExitPlan[]): ExitNetwork {
  const caller = "early-exit.exitNetwork";
  if (!Array.isArray(exits) || exits.length === 0) {
    throw new InputError(caller, "at least one early exit is needed", "none", "Pass [{ tap, head }, …].");
  }
  exits.forEach((plan, at) => {
    const parsed = planSchema.safeParse(plan);
    if (parsed.success) return;
    const { path, message } = parsed.error.issues[0]!;
    const problem = path.length === 0 ? message : `${path.join(".")}: ${message}`;
    throw new InputError(caller, `exit ${at} must be { name?, tap, head }`, problem);
  });
  const named = exits.map(({ name, tap, head }) => ({ name: name ?? tap, tap, head }));
  checkPlan(caller, backbone, named);
  const { classes, units = 1 } = backbone;
  const planned = named.map(({ name, tap, head }) => ({
    name,
    tap,
    head: withCheckedLogits(caller, name, head, { classes, units }),
  }));
  const shapes = planned.map(({ tap }) => backbone.taps[tap]!);
  planned.forEach(({ head }, j) => {
    tryHead(head, shapes[j]!, classes);
  });
  return {
    backbone,
    exits: planned,
    init: (random) => ({
      backbone: backbone.params,
      exits: planned.map(({ head }, j) => head.init(random.split(), shapes[j]!, classes)),
    }),
    apply(params, x, { trains }) {
      const all = trains === "all";
      const result = backbone.apply(params.backbone, x, all);
      const passed = (value: Value): Value => (all ? value : ops.stopGradient(value));
      const early = planned.map(({ tap, head }, j) =>
        head.apply(params.exits[j]!, passed(result.taps[tap]!), trains !== "nothing"),
      );
      return {
        logits: [...early.map(({ logits }) => logits), passed(asRows(result.logits))],
        updated: {
          backbone: all ? result.updated : {},
          exits: trains === "nothing" ? [] : early.map(({ updated }) => updated),
        },
      };
    },
  };
}

function checkPlan(caller: string, backbone: Backbone, exits: readonly Required<ExitPlan>[]): void {
  const taps = Object.keys(backbone.taps);
  for (const [at, { name, tap, head }] of exits.entries()) {
    if (!Object.hasOwn(backbone.taps, tap)) {
      const fix = onnx.suggestion(tap, taps);
      throw new InputError(caller, `exit ${at} must read a tap of the backbone`, onnx.quoted(String(tap)), fix);
    }
    if (typeof head?.init === "function" && typeof head.apply === "function") continue;
    throw new InputError(caller, `exit "${name}" must have a head`, typeof head, "Pass heads.linear() or another one.");
  }
  const names = [...exits.map(({ name }) => name), FULL];
  const repeated = names.find((name, at) => names.indexOf(name) !== at);
  if (repeated !== undefined) throw new InputError(caller, "exit names must differ", `"${repeated}" twice`);
  // Refuses taps that are not in the order of the backbone.
  const read = exits.map(({ tap }) => tap);
  cutStages(
    backbone.toModel(backbone.params),
    read.filter((tap, at) => tap !== read[at - 1]).map((tap) => [tap]),
  );
}

/** Lets a head throw where it cannot read features of that shape. */
function tryHead(head: Head, shape: readonly number[], classes: number): void {
  const params = head.init(generator(1), shape, classes);
  trace((given) => ({ logits: head.apply(given.params as TreeRecord<Value>, given.x, false).logits }), {
    x: spec("float32", ["n", ...shape]),
    params: layers.specsOf<TreeRecord<Spec>>(params),
  });
}

/** [n, u, k] → [n · u, k]; [n, k] as it is. */
function asRows(logits: Value): Value {
  return logits.shape.length === 3 ? ops.reshape(logits, [-1, logits.shape[2]!]) : logits;
}

function withCheckedLogits(
  caller: string,
  name: string,
  head: Head,
  { classes, units }: { readonly classes: number; readonly units: number },
): Head {
  return {
    ...head,
    apply(params, features, training) {
      const result = head.apply(params, features, training);
      const { shape } = result.logits;
      // A head that answers samples gives as many rows as there are.
      const rows = shape.length === 2 && (units === 1 || features.shape.length < 3 || shape[0] !== features.shape[0]);
      const tokens = shape.length === 3 && units > 1 && shape[1] === units;
      if ((rows || tokens) && shape.at(-1) === classes) return { ...result, logits: asRows(result.logits) };
      const wanted = units === 1 ? classes : `${units}, ${classes}`;
      const expectation = `exit "${name}" must give logits [n, ${wanted}], as the backbone does`;
      throw new InputError(caller, expectation, `[${shape.join(", ")}]`);
    },
  };
}
