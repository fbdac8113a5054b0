import { openDevice } from "@exitkit/core-gpu";
import { argMaxRows, countRight } from "../measuring/answers.ts";
import { counted } from "../measuring/counted.ts";
import { type E2cmCifar10Result, e2cmSchema } from "../report/types.ts";
import { pretrained } from "../zoo/resnet.ts";
import { euclideanPart } from "./e2cm/euclidean.ts";
import { examplePictures } from "./e2cm/examples.ts";
import { CLASSES, depthTaps, type Settings, type Subject } from "./e2cm/network.ts";
import type { FrontierRow } from "./e2cm/protocols.ts";
import { pooledStatistics, sharedPart } from "./e2cm/shared.ts";
import { fitSpeed, meansForOverhead, overheadPart } from "./e2cm/speed.ts";
import { TIMED_LOSS, type WallRow, wallPart } from "./e2cm/wall.ts";
import { check } from "./e2cm-cifar10/check.ts";
import type { Context } from "./experiment.ts";
import { type ExperimentResult, legacy } from "./legacy.ts";

/** Those measured; the last one is the one the report begins with. */
const BACKBONES = { quick: ["resnet56"], full: ["resnet20", "resnet56"] } as const;

const SETTINGS: Readonly<Record<Context["preset"], Settings>> = {
  quick: { thresholdPictures: 1500, everyBlock: 3, draws: 500, rounds: 3, timedPictures: 512 },
  full: { thresholdPictures: 5000, everyBlock: 1, draws: 2000, rounds: 5, timedPictures: 2048 },
};

/** Early exit by class means on pretrained CIFAR-10 networks. */
export const e2cmCifar10 = legacy(
  {
    name: "e2cm-cifar10",
    heading: "E²CM on CIFAR-10",
    title: "Early exit by class means on ResNet-20 and ResNet-56, CIFAR-10",
    about:
      "Accuracy by depth, accuracy against MACs under the paper's protocol and a sound one, wall clock against the plain " +
      "network, all distance rules, pooled and quantised variants. One pass over the training pictures, no gradient.",
    run,
    check: (result) => check(result as unknown as E2cmCifar10Result),
  },
  e2cmSchema,
);

async function run(context: Context): Promise<ExperimentResult> {
  const data = await context.data.cifar10();
  const device = await openDevice(context.device);
  try {
    for (const { kind, reason } of device.passedOver) context.progress.note(`not on ${kind}: ${reason}`);
    const parts: Awaited<ReturnType<typeof measure>>[] = [];
    for (const name of BACKBONES[context.preset]) {
      const backbone = await pretrained(name);
      const settings = SETTINGS[context.preset];
      const everyBlock = name === "resnet20" ? 1 : settings.everyBlock;
      const key = (step: string) => `${name}-${step}`;
      parts.push(await measure({ context, device, backbone, data, settings: { ...settings, everyBlock }, key }));
    }
    const flat = <K extends "perExit" | "confusion" | "rows" | "wall" | "fit" | "overhead" | "operating">(name: K) =>
      parts.flatMap((part) => part[name] as readonly unknown[]);
    const main = parts.at(-1)!;
    return {
      values: {
        ranOn: device.kind,
        data: { name: data.name, complete: data.complete, train: data.train.n, test: data.test.n, files: data.files },
        weights: parts.map((part) => part.weights),
        classNames: data.classNames,
        full: { accuracy: main.accuracy },
        backbones: parts.map(({ weights, macs, accuracy }) => ({
          backbone: weights.backbone,
          macs,
          accuracy,
          testPictures: data.test.n,
        })),
        perExit: flat("perExit"),
        confusion: flat("confusion"),
        exitNames: main.exitNames,
        operating: flat("operating"),
        fit: flat("fit"),
        overhead: flat("overhead"),
        rows: flat("rows"),
        wall: flat("wall"),
        examples: main.examples,
      },
      summary: summary(parts),
    };
  } finally {
    await device.close();
  }
}

async function measure(subject: Subject) {
  const { context, backbone, device, data, key } = subject;
  const { run: folder } = context;
  const plain = await folder.step(key("plain"), () => plainAccuracy(subject));
  const pooled = await folder.step(key("pooled-sums"), () => pooledStatistics(subject, depthTaps(subject)));
  const means = await euclideanPart(subject, pooled);
  const shared = await sharedPart(subject, pooled);
  const [first] = shared.sound;
  const wall = await wallPart(subject, first!);
  const overhead = await overheadPart(subject, first!.fitted, await meansForOverhead(subject));
  const rows = [...means.rows, ...shared.rows];
  const exitNames = first!.report.exits;
  for (const row of rows) if (row.protocol === "sound") await folder.metric({ ...row });
  return {
    weights: backbone.weights,
    macs: first!.fitted.costs.full,
    accuracy: plain.right / data.test.n,
    perExit: [...means.perExit, ...shared.perExit],
    confusion: [...means.confusion, ...shared.confusion],
    rows,
    operating: operating(rows, exitNames),
    exitNames,
    wall,
    fit: await fitSpeed(subject),
    overhead,
    examples: examplePictures(subject, first!),
  };

  async function plainAccuracy({ data: { test } }: Subject): Promise<{ right: number }> {
    const session = await device.load(backbone.model);
    let right = 0;
    try {
      for await (const { x, y } of counted(context.progress, `${backbone.name}: plain network`, test)) {
        const { logits } = await session.run({ [backbone.input]: x });
        right += countRight(argMaxRows(logits!.data as Float32Array, CLASSES), y);
      }
    } finally {
      await session.release();
    }
    return { right };
  }
}

/** The rows of the package's default at three wanted losses, with the exits named. */
function operating(rows: readonly FrontierRow[], exitNames: readonly string[]) {
  return rows
    .filter(
      ({ metric, variant, wantedLoss }) =>
        metric === "sharedCovariance" &&
        variant === "moments" &&
        [0.002, TIMED_LOSS, 0.005, 0.01].includes(wantedLoss ?? -1),
    )
    .map(({ backbone, metric, protocol, wantedLoss, macsFraction, accuracy, shares }) => ({
      backbone,
      metric,
      protocol,
      wantedLoss,
      macsFraction,
      accuracy,
      shares: shares.map((share, exit) => ({ exit: exitNames[exit]!, share })),
    }));
}

function summary(parts: readonly Awaited<ReturnType<typeof measure>>[]) {
  const points = (value: number) => `${(100 * value).toFixed(2)} %`;
  const fraction = (value: number) => `${value.toFixed(3)} ×`;
  const rows = parts.flatMap(({ weights, accuracy, operating: chosen, wall }) => [
    [weights.backbone, "plain network", fraction(1), fraction(1), points(accuracy)],
    ...chosen.map((row) => [
      row.backbone,
      `asked to lose ≤ ${points(row.wantedLoss!)}`,
      fraction(row.macsFraction),
      "",
      points(row.accuracy),
    ]),
    ...wall.map((row: WallRow) => [
      row.backbone,
      `≤ ${points(row.wantedLoss)}, timed, batch ${row.batch}`,
      fraction(row.macsFraction),
      fraction(row.wallFraction),
      `${points(row.accuracy)} (plain ${points(row.fullAccuracy)})`,
    ]),
  ]);
  return {
    head: ["network", "setting", "MACs", "wall clock", "accuracy"],
    rows,
    notes: [
      "Thresholds from one half of the test pictures, accuracy on the other half, both ways; timed on the second half only.",
      "MACs (exits included) and wall clock are fractions of the plain network's.",
    ],
  };
}
