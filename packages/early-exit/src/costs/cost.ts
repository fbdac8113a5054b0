import { InputError } from "@exitkit/core-gpu";

/** What a unit (a sample, a pixel or a token) pays, in MACs (multiply-accumulates; 1 MAC = 2 FLOPs). */
export interface ExitCosts {
  /** `[e]`: MACs of a unit that leaves at this exit: the backbone up to it and the overhead of every exit visited. */
  readonly exits: readonly number[];
  /** MACs of the plain network without any exits; fractions and speedups are relative to it. */
  readonly full: number;
}

/**
 * Cost of leaving at each exit: `exits[j] = backbone[j] + overheads[0] + … + overheads[j]`, `full = backbone[e − 1]`.
 * Every exit that was asked is paid, not only the one that answered.
 *
 * @param parts.backbone `[e]` MACs of the plain network up to each exit's tap; the last entry is the whole network.
 * @param parts.overheads `[e − 1]` MACs that deciding and answering at each early exit adds.
 * @throws InputError on lengths that do not fit, numbers that are not finite and ≥ 0, or costs that do not increase.
 * Source: E²CM (IJCNN 2022), FLOPs of the class means [S: the authors' code].
 * @example
 * ```ts
 * import { exitCosts } from "@exitkit/early-exit";
 * const costs = exitCosts({ backbone: [10e6, 20e6, 40e6], overheads: [1e6, 1e6] });
 * console.assert(costs.exits.join() === "11000000,22000000,42000000" && costs.full === 40e6);
 * ```
 */
export function exitCosts(parts: {
  readonly backbone: readonly number[];
  readonly overheads: readonly number[];
}): ExitCosts {
  const caller = "early-exit.exitCosts";
  const { backbone, overheads } = parts ?? {};
  if (!Array.isArray(backbone) || !Array.isArray(overheads)) {
    throw new InputError(caller, "parts must be { backbone: [e], overheads: [e − 1] } in MACs", typeof parts);
  }
  if (overheads.length !== backbone.length - 1) {
    throw new InputError(
      caller,
      `${backbone.length} exits need ${Math.max(0, backbone.length - 1)} overheads, one for each but the full network`,
      `${overheads.length}`,
    );
  }
  for (const [name, values] of Object.entries({ backbone, overheads })) {
    const bad = values.find((value) => !(Number.isFinite(value) && value >= 0));
    if (bad !== undefined) throw new InputError(caller, `${name} must be finite MACs ≥ 0`, `${bad}`);
  }
  let visited = 0;
  const exits = backbone.map((macs, j) => {
    visited += overheads[j] ?? 0;
    return macs + visited;
  });
  const costs = { exits, full: backbone.at(-1) ?? 0 };
  checkCosts(caller, costs, backbone.length);
  return costs;
}

/**
 * What one class-means exit adds for a sample: k distances to means of d features take k·(3d − 1) FLOPs (d subtractions,
 * d squares, d − 1 additions each; root and softmax not counted), half as many MACs.
 *
 * @throws InputError unless k and d are whole numbers ≥ 1.
 * Source: E²CM (IJCNN 2022), FLOPs of the class means [S: the authors' code]. Differs: also in MACs, by 1 MAC = 2 FLOPs.
 */
export function classMeansOverhead(k: number, d: number): { readonly flops: number; readonly macs: number } {
  if (!Number.isSafeInteger(k) || !Number.isSafeInteger(d) || k < 1 || d < 1) {
    throw new InputError("early-exit.classMeansOverhead", "k and d must be whole numbers ≥ 1", `k = ${k}, d = ${d}`);
  }
  const flops = k * (3 * d - 1);
  return { flops, macs: flops / 2 };
}

/** `[e − 1]`: MACs at each early exit as a share of the plain network's, at most 1. */
export function costShares({ exits, full }: ExitCosts): readonly number[] {
  return exits.slice(0, -1).map((cost) => Math.min(1, cost / full));
}

/** @throws InputError unless there are e finite costs > 0 that increase, and `full` is finite and > 0. */
export function checkCosts(caller: string, costs: ExitCosts, e: number): void {
  const { exits, full } = costs ?? {};
  if (!Array.isArray(exits)) {
    const actual = costs === null ? "null" : typeof costs;
    throw new InputError(caller, "costs must be { exits, full } in MACs", actual, "Make them with exitCosts.");
  }
  if (exits.length !== e) {
    throw new InputError(caller, `costs.exits must have one entry for each of the ${e} exits`, `${exits.length}`);
  }
  exits.forEach((cost, j) => {
    if (!Number.isFinite(cost) || cost <= 0 || (j > 0 && cost <= exits[j - 1]!)) {
      throw new InputError(
        caller,
        "costs.exits must be finite MACs > 0 that increase from exit to exit",
        `[${exits.join(", ")}]`,
        "Each must hold the backbone up to the exit and all exits visited on the way.",
      );
    }
  });
  if (!Number.isFinite(full) || full <= 0)
    throw new InputError(caller, "costs.full must be finite MACs > 0", `${full}`);
}
