import { InputError } from "@exitkit/core-gpu";
import { type LayerShape, placeName } from "./layer-shape.ts";

/** A layer shape and how long a batch takes in it. */
export interface TimedShape extends LayerShape {
  /** Milliseconds a batch, in float32. */
  readonly float: number;
  /** Milliseconds a batch, in 8 bits; undefined where the layer has no such form. */
  readonly eightBits?: number;
}

/** How long layers take on one machine, by their shapes. Plain data. */
export interface LayerTimes {
  /** Samples of a batch. */
  readonly batch: number;
  /** Widths in between cost as much as the next multiple of this, or more. */
  readonly block: number;
  /** What the block was seen by: one convolution, as many channels in as out. */
  readonly widths?: readonly TimedShape[];
  readonly rows: readonly TimedShape[];
}

/** Bits that a network will be run in. */
export type Bits = 32 | 8;

/**
 * Milliseconds of a layer, from a table: between measured widths linear in both, below the least in proportion.
 *
 * @throws InputError where the table has no layer like it.
 */
export function timeOf(caller: string, { rows }: LayerTimes, shape: LayerShape, bits: Bits): number {
  const name = placeName(shape);
  const own = rows.filter((row) => placeName(row) === name);
  const milliseconds = (row: TimedShape) => (bits === 8 ? (row.eightBits ?? row.float) : row.float);
  const [ins, outs] = [widths(own, "in"), widths(own, "out")];
  const from = around(ins, shape.in);
  const to = around(outs, shape.out);
  if (from === undefined || to === undefined) throw missing(caller, shape);
  const at = (input: number, output: number) => {
    const row = own.find((one) => one.in === input && one.out === output);
    if (row === undefined) throw missing(caller, { ...shape, in: input, out: output });
    return milliseconds(row);
  };
  const along = (input: number) => between(to, (output) => at(input, output));
  return between(from, along);
}

/** Two measured widths around a wanted one, and how much of the second; below the least, a share of that. */
interface Around {
  readonly low: number;
  readonly high: number;
  readonly part: number;
  readonly scale: number;
}

function between({ low, high, part, scale }: Around, value: (width: number) => number): number {
  return scale * (part === 0 ? value(low) : value(low) * (1 - part) + value(high) * part);
}

function around(known: readonly number[], wanted: number): Around | undefined {
  const low = known.findLast((width) => width <= wanted);
  const high = known.find((width) => width >= wanted);
  if (high === undefined) return undefined;
  if (low === undefined) return { low: high, high, part: 0, scale: wanted / high };
  return { low, high, part: high === low ? 0 : (wanted - low) / (high - low), scale: 1 };
}

function widths(rows: readonly TimedShape[], key: "in" | "out"): readonly number[] {
  return [...new Set(rows.map((row) => row[key]))].sort((a, b) => a - b);
}

function missing(caller: string, shape: LayerShape): InputError {
  const expectation = `the table of times must have "${placeName(shape)}" from ${shape.in} to ${shape.out} channels`;
  return new InputError(caller, expectation, "no such rows", "Measure it with measureLayerTimes on this network.");
}
