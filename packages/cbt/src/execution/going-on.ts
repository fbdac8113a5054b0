/** Which pixels of a decisions' grid go on, besides those that are unsure. */
export interface GoingOn {
  /** [h, w]. */
  readonly grid: readonly [number, number];
  readonly cells: { readonly cell: number; readonly share: number };
  readonly dilation: number;
  /** The last stage. */
  readonly last: number;
}

/** Places that go on after exit `index`; the others' stage is written down where it was open. */
export function goingOn(
  sure: Uint8Array,
  stopped: Uint8Array,
  index: number,
  { grid, cells, dilation, last }: GoingOn,
): BigInt64Array {
  const open = new Uint8Array(stopped.length);
  for (let at = 0; at < open.length; at++) open[at] = stopped[at] === last && sure[at] === 0 ? 1 : 0;
  if (dilation > 0) dilate(open, stopped, grid, dilation, last);
  if (cells.cell > 1) byCells(open, stopped, grid, cells, last);
  let count = 0;
  for (let at = 0; at < open.length; at++) {
    if (open[at] === 1) count++;
    else if (stopped[at] === last) stopped[at] = index;
  }
  const active = new BigInt64Array(count);
  let next = 0;
  for (let at = 0; at < open.length; at++) if (open[at] === 1) active[next++] = BigInt(at);
  return active;
}

/** What lies within `by` rows and columns of what is open is opened, as far as it was going on. */
function dilate(
  open: Uint8Array,
  stopped: Uint8Array,
  [h, w]: readonly [number, number],
  by: number,
  last: number,
): void {
  const seeds = open.slice();
  for (let at = 0; at < seeds.length; at++) {
    if (seeds[at] === 0) continue;
    const [row, column] = [Math.floor(at / w), at % w];
    for (let y = Math.max(0, row - by); y <= Math.min(h - 1, row + by); y++) {
      for (let x = Math.max(0, column - by); x <= Math.min(w - 1, column + by); x++) {
        if (stopped[y * w + x] === last) open[y * w + x] = 1;
      }
    }
  }
}

/** Cells with more than the share of their pixels open go on as a whole, as far as they were going on; the others are done. */
function byCells(
  open: Uint8Array,
  stopped: Uint8Array,
  [h, w]: readonly [number, number],
  { cell, share }: { readonly cell: number; readonly share: number },
  last: number,
): void {
  for (let top = 0; top < h; top += cell) {
    for (let left = 0; left < w; left += cell) {
      const places: number[] = [];
      for (let y = top; y < Math.min(top + cell, h); y++) {
        for (let x = left; x < Math.min(left + cell, w); x++) places.push(y * w + x);
      }
      const unsure = places.filter((at) => open[at] === 1).length;
      for (const at of places) open[at] = unsure > share * places.length && stopped[at] === last ? 1 : 0;
    }
  }
}
