import { REJECTED } from "@exitkit/early-exit";
import type { Dataset } from "../../data/directory.ts";
import { type Pictures, selectPictures } from "../../data/pictures.ts";

/** Classes of CIFAR-100's superclasses of vehicles and of four-legged animals: what CIFAR-10's classes look like. */
const ALIKE = new Set(
  `bicycle bus motorcycle pickup_truck train lawn_mower rocket streetcar tank tractor bear leopard lion tiger wolf camel cattle
  chimpanzee elephant kangaroo fox porcupine possum raccoon skunk hamster mouse rabbit shrew squirrel`.split(/\s+/),
);
/** The one class that CIFAR-10's trucks and cars hold too. */
const SAME = "pickup_truck";

/** Pictures of no known class, labelled so, and what they are. */
export interface Unknowns {
  /** `far`: of superclasses without a counterpart in CIFAR-10; `near`: other vehicles and four-legged animals. */
  readonly kind: "far" | "near";
  readonly pictures: Pictures;
}

/** The unknown pictures of CIFAR-100's test pictures, at most `most` of each kind, in the order of the file. */
export function unknownsOf(
  { test, classNames }: Pick<Dataset, "test" | "classNames">,
  most: number,
): readonly Unknowns[] {
  const rows = Array.from({ length: test.n }, (_, row) => row);
  const nameOf = (row: number) => classNames[test.labels[row]!]!;
  const kinds = [
    ["far", rows.filter((row) => !ALIKE.has(nameOf(row)))],
    ["near", rows.filter((row) => ALIKE.has(nameOf(row)) && nameOf(row) !== SAME)],
  ] as const;
  return kinds.map(([kind, own]) => {
    const pictures = selectPictures(test, own.slice(0, most));
    return { kind, pictures: { ...pictures, labels: new Int32Array(pictures.n).fill(REJECTED) } };
  });
}
