import type { ExitRecord } from "../records/record.ts";

/** The independent draws of a record: its units, or the groups that hold them. */
export interface Draws {
  readonly count: number;
  /** The units of some draws, those of one beside each other. */
  readonly unitsOf: (draws: Int32Array) => Int32Array;
}

export function drawsOf({ n, groups }: ExitRecord): Draws {
  if (groups === undefined) return { count: n, unitsOf: (draws) => draws };
  // Units by group, as offsets into one array.
  const places = new Map<number, number>();
  for (const group of groups) if (!places.has(group)) places.set(group, places.size);
  const starts = new Int32Array(places.size + 1);
  for (const group of groups) starts[places.get(group)! + 1]!++;
  for (let at = 0; at < places.size; at++) starts[at + 1]! += starts[at]!;
  const next = starts.slice();
  const units = new Int32Array(n);
  groups.forEach((group, unit) => {
    units[next[places.get(group)!]!++] = unit;
  });
  const unitsOf = (draws: Int32Array): Int32Array => {
    const size = draws.reduce((sum, draw) => sum + starts[draw + 1]! - starts[draw]!, 0);
    const found = new Int32Array(size);
    let at = 0;
    for (const draw of draws) {
      const own = units.subarray(starts[draw]!, starts[draw + 1]!);
      found.set(own, at);
      at += own.length;
    }
    return found;
  };
  return { count: places.size, unitsOf };
}
