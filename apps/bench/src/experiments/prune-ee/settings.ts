import { InputError } from "@exitkit/core-gpu";
import type { Pretrained } from "../../zoo/resnet.ts";
import type { Extras } from "../options.ts";
import type { Order } from "./schema.ts";

type Pruned = Exclude<Order, "dense">;

/** What a preset decides. */
export interface Settings {
  readonly network: Pretrained;
  /** Of the training pictures, the first ones: one epoch of a round's fine-tuning. */
  readonly pictures: number;
  readonly seeds: number;
  readonly rounds: number;
  readonly fraction: number;
  readonly epochs: number;
  /** Epochs that the exits are trained for on the frozen network before anything is pruned. */
  readonly exitEpochs: number;
  readonly orders: readonly Exclude<Order, "dense">[];
  /** Whose channels are removed; smaller plain networks of the zoo stand beside it. */
  readonly channelNetwork: Pretrained;
  /** Shares of the channels that stay. */
  readonly keep: readonly number[];
  /** Shares of the time of all layers that a network should take; it is pruned where a table of this machine's times says. */
  readonly times: readonly number[];
  /** How the table of times is measured. */
  readonly table: { readonly steps: number; readonly passes: number };
  /** Epochs after channels were removed. */
  readonly channelEpochs: number;
  /** Of the seeds, the first ones: with which channels are removed. */
  readonly channelSeeds: number;
}

const NETWORKS: readonly Pretrained[] = ["resnet20", "resnet32", "resnet44", "resnet56"];
const ORDERS: readonly Pruned[] = ["together", "sequential", "exitsFirst", "random"];

export const QUICK: Settings = {
  network: "resnet20",
  pictures: 640,
  seeds: 1,
  rounds: 3,
  fraction: 0.3,
  epochs: 1,
  exitEpochs: 6,
  orders: ["together", "sequential"],
  channelNetwork: "resnet20",
  keep: [0.5],
  times: [],
  table: { steps: 2, passes: 2 },
  channelEpochs: 1,
  channelSeeds: 1,
};

export const FULL: Settings = {
  network: "resnet20",
  pictures: 10_000,
  seeds: 5,
  rounds: 20,
  fraction: 0.1,
  epochs: 1,
  exitEpochs: 5,
  orders: ORDERS,
  channelNetwork: "resnet56",
  keep: [0.75, 0.5],
  times: [0.7, 0.5],
  table: { steps: 4, passes: 5 },
  channelEpochs: 5,
  channelSeeds: 1,
};

/** What `--reduced` makes of the full preset: as many zeros in a quarter of the rounds, the paper's two orders. */
const REDUCED: Settings = {
  ...FULL,
  ...inRounds(FULL, 5),
  exitEpochs: 3,
  orders: ["together", "sequential"],
  keep: [0.5],
  times: [0.7],
  channelEpochs: 3,
};

/** The preset as the options change it. @throws InputError on an unknown network or order. */
export function settingsOf(preset: Settings, extras: Extras): Settings {
  const usual = extras.reduced === true ? REDUCED : preset;
  const known = <T extends string>(option: string, all: readonly T[], given: readonly string[]): readonly T[] => {
    const other = given.find((name) => !(all as readonly string[]).includes(name));
    if (other === undefined) return given as readonly T[];
    throw new InputError("bench run", `--${option} of prune-ee must be of ${all.join(", ")}`, other);
  };
  const rounds = typeof extras.rounds === "number" ? inRounds(usual, extras.rounds) : {};
  return {
    ...usual,
    ...rounds,
    pictures: extras.pictures ?? usual.pictures,
    epochs: extras.epochs ?? usual.epochs,
    orders: Array.isArray(extras.orders) ? known("orders", ORDERS, extras.orders) : usual.orders,
    network: typeof extras.network === "string" ? known("network", NETWORKS, [extras.network])[0]! : usual.network,
  };
}

/** As many zeros at the end, in another number of rounds. */
function inRounds({ rounds, fraction }: Settings, wanted: number) {
  return { rounds: wanted, fraction: 1 - (1 - fraction) ** (rounds / wanted) };
}
