// Training from scratch on CIFAR-10, beside PyTorch.
// @ts-check
import { machine, percent, table } from "./words.mjs";

/** A run on fewer pictures stands beside the one on all of them. */
export function nameOf({ data }) {
  return data.complete && data.train === 50_000 ? "train-cifar10" : "train-cifar10-subset";
}

/** What `peers/train_cifar10.py` printed, a JSON line an epoch and one at the end, as a result. */
export function peer(lines) {
  const curve = lines
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { runtime, ...end } = curve.pop();
  return { runtime, rows: [{ ...end, trainLoss: curve.at(-1).trainLoss }], curve };
}

/** The lines of the README. */
export function headline(all, results) {
  const [row] = all.rows;
  const peer = results["train-cifar10-pytorch"];
  const beside =
    peer === undefined
      ? ""
      : ` The same recipe in PyTorch (${peer.runtime}) reaches ${percent(peer.rows[0].testAccuracy)}.`;
  return `ResNet-20 trained from scratch on all ${row.pictures.toLocaleString("en")} pictures, ${row.epochs} epochs: ${percent(row.testAccuracy)} of the ${all.data.test.toLocaleString("en")} test pictures right.${beside}`;
}

/** Its part of docs/measured.md. */
export function page(all, results) {
  const subset = results["train-cifar10-subset"];
  const peer = results["train-cifar10-pytorch"];
  return [
    "## ResNet-20 from scratch, CIFAR-10",
    "",
    `${all.data.train.toLocaleString("en")} training and ${all.data.test.toLocaleString("en")} test pictures, ${all.rows[0].epochs} epochs in batches of ${all.recipe.batch}. ${machine(all)}.`,
    "",
    table(
      ["pictures", "runtime", "seed", "training loss", "test accuracy"],
      [
        ...all.rows.map((row) => line(row, "ONNX Runtime")),
        ...(peer === undefined ? [] : peer.rows.map((row) => line(row, peer.runtime))),
        ...(subset === undefined ? [] : subset.rows.map((row) => line(row, "ONNX Runtime"))),
      ],
    ),
    "",
    ...(subset?.spread === undefined
      ? []
      : [
          `${subset.data.train.toLocaleString("en")} pictures, ${subset.spread.seeds} seeds: ${percent(subset.spread.mean)} ± ${percent(subset.spread.deviation)} (standard deviation), ${percent(subset.spread.least)} to ${percent(subset.spread.most)}.`,
          "",
        ]),
    "Test accuracy by epoch:",
    "",
    table(
      ["epoch", "ONNX Runtime", ...(peer === undefined ? [] : [peer.runtime])],
      all.curve
        .filter(({ seed }) => seed === all.rows[0].seed)
        .map((row, index) => [
          String(row.epoch),
          percent(row.testAccuracy),
          ...(peer === undefined ? [] : [percent(peer.curve[index].testAccuracy)]),
        ]),
    ),
    "",
  ];
}

function line(row, runtime) {
  return [
    row.pictures.toLocaleString("en"),
    runtime,
    String(row.seed),
    row.trainLoss.toFixed(3),
    percent(row.testAccuracy),
  ];
}
