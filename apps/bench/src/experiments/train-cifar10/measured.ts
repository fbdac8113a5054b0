import { machine } from "../../report/machine.ts";
import type { Block } from "../../report/markdown.ts";
import { count, digits, exact } from "../../report/numbers.ts";
import { tableOf } from "../../report/table.ts";
import type { Kept, Results } from "../experiment.ts";
import { peerSchema, schema, type TrainCifar10Result } from "./schema.ts";

/** A run on fewer pictures stands beside the one on all of them. */
const SUBSET = "train-cifar10-subset";
const PEER = "train-cifar10-pytorch";

/** What docs/results holds. */
export function keep(result: TrainCifar10Result): Kept {
  const all = result.data?.complete === true && result.data.train === 50_000;
  return { name: all ? "train-cifar10" : SUBSET, value: result };
}

/** What `peers/train_cifar10.py` printed, a JSON line an epoch and one at the end, as a result. */
export function adopt(text: string): Kept | undefined {
  if (!text.startsWith("{")) return undefined;
  const curve = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { runtime, ...end } = curve.pop();
  if (runtime === undefined) return undefined;
  return { name: PEER, value: { runtime, rows: [{ ...end, trainLoss: curve.at(-1).trainLoss }], curve } };
}

/** Its part of the README. */
export function readme({ rows, data }: TrainCifar10Result, results: Results): readonly Block[] {
  const [row] = rows;
  const { peer } = besides(results);
  const beside =
    peer === undefined
      ? ""
      : ` The same recipe in PyTorch (${peer.runtime}) reaches ${exact(peer.rows[0]!.testAccuracy!)}.`;
  return [
    `ResNet-20 trained from scratch on all ${count(row!.pictures)} pictures, ${row!.epochs} epochs: ${exact(row!.testAccuracy)} of the ${count(data!.test)} test pictures right.${beside}`,
  ];
}

/** Its part of docs/measured.md. */
export function measured(result: TrainCifar10Result, results: Results): readonly Block[] {
  const { rows, data, recipe, curve } = result;
  const { subset, peer } = besides(results);
  const spread = subset?.spread;
  const ours = "ONNX Runtime";
  const all = [
    ...rows.map((row) => ({ ...row, runtime: ours })),
    ...(peer?.rows ?? []).map((row) => ({ ...row, runtime: peer!.runtime })),
    ...(subset?.rows ?? []).map((row) => ({ ...row, runtime: ours })),
  ];
  return [
    "## ResNet-20 from scratch, CIFAR-10",
    `${count(data!.train)} training and ${count(data!.test)} test pictures, ${rows[0]!.epochs} epochs in batches of ${recipe.batch}. ${machine(result)}.`,
    tableOf(all, [
      ["pictures", "pictures"],
      ["runtime", "runtime"],
      ["seed", "seed"],
      ["training loss", "trainLoss", digits(3)],
      ["test accuracy", "testAccuracy", exact],
    ]),
    spread === undefined
      ? ""
      : `${count(subset!.data!.train)} pictures, ${spread.seeds} seeds: ${exact(spread.mean)} ± ${exact(spread.deviation)} (standard deviation), ${exact(spread.least)} to ${exact(spread.most)}.`,
    "Test accuracy by epoch:",
    tableOf(
      curve.filter(({ seed }) => seed === rows[0]!.seed),
      [
        ["epoch", "epoch"],
        [ours, "testAccuracy", exact],
        peer !== undefined && [peer.runtime, (_, index) => peer.curve[index]?.testAccuracy, exact],
      ],
    ),
  ];
}

function besides(results: Results) {
  return {
    subset: schema.optional().parse(results.get(SUBSET)),
    peer: peerSchema.optional().parse(results.get(PEER)),
  };
}
