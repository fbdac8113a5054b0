import { ops, type Value } from "@exitkit/core-gpu";
import type { ExitNetwork, ExitParameters } from "@exitkit/early-exit";

/**
 * One network with the exits of several, so that they are trained in the same passes over the same pictures. Heads on a frozen
 * backbone do not know of each other: each learns what it would learn alone.
 *
 * @param networks At least one, all with the same backbone and taps. Their exits follow one another in its parameters. A single one is
 * what is returned, and may train its backbone.
 */
export function together(networks: readonly ExitNetwork[]): ExitNetwork {
  const [first] = networks as readonly [ExitNetwork];
  if (networks.length === 1) return first;
  const { backbone } = first;
  const exits = networks.flatMap((network, at) =>
    network.exits.map(({ name, ...plan }) => ({ ...plan, name: `${name} of ${at + 1}` })),
  );
  return {
    backbone,
    exits,
    init: (random) => ({
      backbone: backbone.params,
      exits: networks.flatMap((network) => network.init(random.split()).exits),
    }),
    apply(params: ExitParameters<Value>, x, { trains }) {
      if (trains === "all") throw new Error("exits are trained together only on a frozen backbone");
      const { taps, logits } = backbone.apply(params.backbone, x, false);
      const early = exits.map(({ tap, head }, j) =>
        head.apply(params.exits[j]!, ops.stopGradient(taps[tap]!), trains === "exits"),
      );
      return {
        logits: [...early.map((exit) => exit.logits), ops.stopGradient(logits)],
        updated: { backbone: {}, exits: trains === "exits" ? early.map((exit) => exit.updated) : [] },
      };
    },
  };
}

/** The parameters of each of the networks that {@link together} made one. */
export function apart(networks: readonly ExitNetwork[], params: ExitParameters): readonly ExitParameters[] {
  let from = 0;
  return networks.map((network) => {
    const exits = params.exits.slice(from, from + network.exits.length);
    from += exits.length;
    return { backbone: params.backbone, exits };
  });
}
