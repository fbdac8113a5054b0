import { count } from "./numbers.ts";

interface Sizes {
  readonly name: string;
  readonly train: number;
  readonly test: number;
}

/** "CIFAR-10: 50,000 training and 10,000 test pictures." */
export function dataWords(data: Sizes | undefined): string {
  return data === undefined ? "The data set was not recorded." : `${sizeWords(data)}.`;
}

/** The same without the dot. */
export function sizeWords({ name, train, test }: Sizes): string {
  return `${name}: ${count(train)} training and ${count(test)} test pictures`;
}

/** "peak learning rate 0.2, warm up 0.2." of a record; undefined of an empty one. Lists are joined by dashes. */
export function pairsWords(record: Readonly<Record<string, unknown>>): string | undefined {
  const pairs = Object.entries(record).map(
    ([key, value]) =>
      `${key.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)} ${String(value).replaceAll(",", "–")}`,
  );
  return pairs.length === 0 ? undefined : `${pairs.join(", ")}.`;
}
