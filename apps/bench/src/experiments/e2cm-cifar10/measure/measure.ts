import { accuracyAt } from "../../../measuring/answers.ts";
import { headline } from "../headline.ts";
import { confusions, depthRows } from "./depth.ts";
import { frontierRows, halvingRows } from "./frontiers.ts";
import { fitMethods, recordsOf } from "./methods.ts";
import { fitSpeed, overheadRows } from "./speed.ts";
import type { Subject } from "./subject.ts";
import { examplePictures, timedSetting, wallRows } from "./timed.ts";

/** Everything of one backbone. */
export async function measure(subject: Subject) {
  const { backbone, data, context } = subject;
  const methods = await fitMethods(subject);
  const main = methods.find(({ variant }) => variant === "moments")!;
  const setting = timedSetting(subject, main);
  const wall = await wallRows(subject, main, setting);
  const [record] = recordsOf(main, "test");
  const plain = {
    backbone: backbone.weights.backbone,
    macs: main.fits[0]!.fitted.costs.full,
    accuracy: accuracyAt(record!, record!.exits.length - 1),
    testPictures: data.test.n,
  };
  // The first result; what follows takes as long again.
  context.progress.note(headline({ backbones: [plain], wall }).sentence);
  const rows = methods.flatMap((method) => frontierRows(subject, method));
  for (const row of rows) if (row.choice !== "paper") await context.run.metric({ ...row });
  return {
    weights: backbone.weights,
    plain,
    perExit: methods.filter(({ variant }) => !variant.includes("int8")).flatMap((method) => depthRows(subject, method)),
    confusion: methods
      .filter(({ variant }) => ["moments", "full"].includes(variant))
      .flatMap((method) => confusions(subject, method)),
    rows,
    halvings: await halvingRows(subject, methods),
    exitNames: record!.exits,
    wall,
    fit: await fitSpeed(subject),
    overhead: await overheadRows(subject, main),
    examples: examplePictures(setting),
  };
}
