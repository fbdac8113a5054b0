import { plainRight } from "../../../measuring/plain.ts";
import type { FrontierRow } from "../schema.ts";
import { euclideanPart } from "./euclidean.ts";
import { examplePictures } from "./examples.ts";
import { CLASSES, depthTaps, type Subject } from "./network.ts";
import { pooledStatistics, sharedPart } from "./shared.ts";
import { fitSpeed, meansForOverhead, overheadPart } from "./speed.ts";
import { TIMED_LOSS, wallPart } from "./wall.ts";

/** Everything of one backbone. */
export async function measure(subject: Subject) {
  const { context, backbone, device, data, key } = subject;
  const { run: folder, progress } = context;
  const { right } = await folder.step(key("plain"), async () => ({
    right: await plainRight(device, backbone, data.test, CLASSES, progress),
  }));
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
    plain: {
      backbone: backbone.weights.backbone,
      macs: first!.fitted.costs.full,
      accuracy: right / data.test.n,
      testPictures: data.test.n,
    },
    perExit: [...means.perExit, ...shared.perExit],
    confusion: [...means.confusion, ...shared.confusion],
    rows,
    operating: rows.flatMap((row) => operatingPoint(row, exitNames)),
    exitNames,
    wall,
    fit: await fitSpeed(subject),
    overhead,
    examples: examplePictures(subject, first!),
  };
}

/** The package's default at some wanted losses, with the exits named. */
function operatingPoint(row: FrontierRow, exitNames: readonly string[]) {
  const { backbone, metric, variant, protocol, wantedLoss, macsFraction, accuracy, shares } = row;
  const wanted = [0.002, TIMED_LOSS, 0.005, 0.01].includes(wantedLoss ?? -1);
  if (metric !== "sharedCovariance" || variant !== "moments" || !wanted) return [];
  const named = shares.map((share, exit) => ({ exit: exitNames[exit]!, share }));
  return [{ backbone, metric, protocol, wantedLoss: wantedLoss!, macsFraction, accuracy, shares: named }];
}
