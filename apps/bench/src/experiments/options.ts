import { InvalidArgumentError } from "commander";

/** An option of `bench run` that only some experiments take. One that several take must be the same for all. */
export interface RunOption {
  /** As the command line writes it: "--seeds <number>". Its value is `context.extras.seeds`, and part of a run's config unless it is passing. */
  readonly flags: string;
  readonly about: string;
  /** It says what is left out for now, not what a run is: with another value the same run goes on. */
  readonly passing?: true;
  /** @throws InvalidArgumentError of commander. */
  parse(text: string): unknown;
}

/** Values of the options that were given; an experiment's own options stand beside the common ones. */
export interface Extras {
  readonly seeds?: number;
  readonly pictures?: number;
  readonly epochs?: number;
  readonly datasets?: readonly string[];
  readonly [own: string]: unknown;
}

export const SEEDS: RunOption = {
  flags: "--seeds <number>",
  about: "that many seeds, --seed the first",
  parse: positiveNumber,
};
export const PICTURES: RunOption = {
  flags: "--pictures <number>",
  about: "only so many training pictures",
  parse: positiveNumber,
};
export const EPOCHS: RunOption = {
  flags: "--epochs <number>",
  about: "instead of the preset's",
  parse: positiveNumber,
};
export const DATASETS: RunOption = {
  flags: "--datasets <names>",
  about: "only these data sets, with commas between",
  parse: names,
};
export const MINUTES: RunOption = {
  flags: "--minutes <number>",
  about: "begin nothing new after so many minutes, and say what was left out",
  passing: true,
  parse: positiveNumber,
};
export const REDUCED: RunOption = {
  flags: "--reduced",
  about: "the full preset's short form, for a machine that is slow or busy",
  parse: () => true,
};

/** "--seeds <number>" → "seeds". */
export function nameOf({ flags }: RunOption): string {
  return /^--([\w-]+)/.exec(flags)![1]!.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase());
}

export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new InvalidArgumentError("It must be a whole number ≥ 0.");
  return value;
}

export function positiveNumber(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError("It must be a whole number ≥ 1.");
  return value;
}

export function names(text: string): readonly string[] {
  const found = text.split(",").filter((name) => name !== "");
  if (found.length === 0) throw new InvalidArgumentError("It must be one name, or several with commas between.");
  return found;
}
