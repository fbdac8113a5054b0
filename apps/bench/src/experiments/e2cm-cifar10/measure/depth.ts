import { accuracyAt } from "../../../measuring/answers.ts";
import type { Confusion, ExitRow } from "../schema.ts";
import { type Method, recordsOf } from "./methods.ts";
import { CLASSES, depthOf, type Subject } from "./subject.ts";

/** What every exit of a method answers by itself; of several fits the first. */
export function depthRows(subject: Subject, method: Method): readonly ExitRow[] {
  const { metric, variant, fits } = method;
  const { exits, costs } = fits[0]!.fitted;
  const [record] = recordsOf(method, "test");
  return exits.map(({ tap }, index) => ({
    backbone: subject.backbone.name,
    metric,
    variant,
    exit: tap,
    depth: depthOf(subject, tap),
    macsFraction: costs.exits[index]! / costs.full,
    accuracy: accuracyAt(record!, index),
  }));
}

/** What every exit of a method takes for what. */
export function confusions(subject: Subject, method: Method): readonly Confusion[] {
  const [record] = recordsOf(method, "test");
  const { predictions, labels } = record!;
  return method.fits[0]!.fitted.exits.map(({ tap }, index) => {
    const matrix = Array.from({ length: CLASSES }, () => new Array<number>(CLASSES).fill(0));
    predictions[index]!.forEach((answer, i) => {
      matrix[labels[i]!]![answer]! += 1;
    });
    const place = { exit: tap, depth: depthOf(subject, tap) };
    return { backbone: subject.backbone.name, metric: method.metric, ...place, matrix };
  });
}
