/** A line in pixels. */
export type Pixels = readonly Pixel[];
type Pixel = readonly [x: number, y: number];

/** A curve in pixels and the text that names it. */
export interface Labelled {
  readonly name: string;
  readonly pixels: Pixels;
}

/** Where a text goes, in pixels: its left end and its middle; and, where it stands off, a thin line to its curve. */
export interface Placed {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  readonly leader?: readonly [Pixel, Pixel];
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const LETTER = 7.7;
const HALF_LINE = 9;
/** From here on, a text gets a line to its curve. */
const FAR = 16;
/** Curves are looked at so far beyond the bounds, and no further: values may be of any size. */
const BEYOND = 100;

/**
 * Puts each curve's name next to it: of all places left and right of the curve the one that covers the least of curves and
 * names, is not mistaken for another curve's, and stays inside `bounds`. Curves too close together for that get their name
 * a little further off with a thin line to it.
 *
 * @param avoid Further lines without a name of their own here.
 */
export function placeLabels(curves: readonly Labelled[], bounds: Box, avoid: readonly Pixels[] = []): Placed[] {
  const shown: Box = {
    left: bounds.left - BEYOND,
    right: bounds.right + BEYOND,
    top: bounds.top - BEYOND,
    bottom: bounds.bottom + BEYOND,
  };
  const lines = [...curves.map(({ pixels }) => pixels), ...avoid].map((line) => resample(line, shown));
  const taken: Box[] = [];
  return curves.flatMap(({ name }, own): Placed[] => {
    const width = name.length * LETTER;
    let best: { cost: number; box: Box; anchor: Pixel } | undefined;
    const anchors = resample(curves[own]!.pixels, shown, 14);
    for (const [index, anchor] of anchors.entries()) {
      const crowd = 25 * crowding(anchor, lines, own) + index / anchors.length;
      for (const box of around(anchor, width)) {
        const enough = (best?.cost ?? Number.POSITIVE_INFINITY) - crowd;
        const cost = costOf({ shown, box, anchor, lines, own, taken, bounds }, enough) + crowd;
        if (best === undefined || cost < best.cost) best = { cost, box, anchor };
      }
    }
    // Nothing of it is in the picture.
    if (best === undefined) return [];
    const { box, anchor } = best;
    taken.push(box);
    const place = { name, x: box.left, y: (box.top + box.bottom) / 2 };
    if (distance(anchor, box) <= FAR) return [place];
    lines.push(resample([anchor, edge(anchor, box)], shown));
    return [{ ...place, leader: [anchor, edge(anchor, box)] as const }];
  });
}

interface Candidate {
  readonly shown: Box;
  readonly box: Box;
  readonly anchor: Pixel;
  readonly lines: readonly Pixels[];
  readonly own: number;
  readonly taken: readonly Box[];
  readonly bounds: Box;
}

/** How bad a place is; stops adding up when it is at `enough`. */
function costOf({ shown, box, anchor, lines, own, taken, bounds }: Candidate, enough: number): number {
  const far = distance(anchor, box);
  let cost = 1000 * outside(box, bounds) + 300 * taken.filter((other) => overlap(box, other)).length;
  if (far > FAR) cost += 20 + 0.4 * far;
  if (cost >= enough) return cost;

  let gap = Number.POSITIVE_INFINITY;
  for (const [index, line] of lines.entries()) {
    for (const dot of line) {
      const away = distance(dot, box);
      if (away < 2) cost += index === own ? 6 : 14;
      if (index !== own && away < gap) gap = away;
    }
  }
  // Without a line to its curve, a name closer to another curve than to its own misleads.
  if (far <= FAR) return cost + Math.max(0, 14 - gap) * 4;
  if (cost >= enough) return cost;
  const leader = resample([anchor, edge(anchor, box)], shown);
  return cost + 8 * lines.filter((line, index) => index !== own && line.some((dot) => isNear(dot, leader, 4))).length;
}

/** How many other lines pass close to the point. */
function crowding(anchor: Pixel, lines: readonly Pixels[], own: number): number {
  return lines.filter((line, index) => index !== own && isNear(anchor, line, 8)).length;
}

function isNear([x, y]: Pixel, line: Pixels, reach: number): boolean {
  return line.some((dot) => Math.abs(dot[0] - x) < reach && Math.abs(dot[1] - y) < reach);
}

function around([x, y]: Pixel, width: number): Box[] {
  const middles = [-44, -14, 0, 14, 44].map((shift) => y + shift);
  const lefts = [8, 32, 64].flatMap((shift) => [x + shift, x - shift - width]);
  return lefts.flatMap((left) =>
    middles.map((middle) => ({ left, right: left + width, top: middle - HALF_LINE, bottom: middle + HALF_LINE })),
  );
}

/** The middle of the box's side that faces the point. */
function edge([x]: Pixel, box: Box): Pixel {
  return [x < box.left ? box.left - 3 : box.right + 3, (box.top + box.bottom) / 2];
}

function distance([x, y]: Pixel, box: Box): number {
  return Math.hypot(Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
}

function outside(box: Box, bounds: Box): number {
  return (
    Math.max(0, bounds.left - box.left) +
    Math.max(0, box.right - bounds.right) +
    Math.max(0, bounds.top - box.top) +
    Math.max(0, box.bottom - bounds.bottom)
  );
}

function overlap(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}

/** A point every `step` pixels along the parts of the line that are in the box. */
function resample(pixels: Pixels, box: Box, step = 6): Pixel[] {
  const [first] = pixels;
  const dots: Pixel[] = first !== undefined && overlap(dotBox(first), box) ? [first] : [];
  for (let index = 1; index < pixels.length; index++) {
    const [from, to] = [pixels[index - 1]!, pixels[index]!];
    const part = partWithin(from, to, box);
    if (part === null) continue;
    const [begin, end] = part;
    const at = (along: number): Pixel => [from[0] + (to[0] - from[0]) * along, from[1] + (to[1] - from[1]) * along];
    if (begin > 0) dots.push(at(begin));
    const steps = Math.max(1, Math.ceil(((end - begin) * Math.hypot(to[0] - from[0], to[1] - from[1])) / step));
    for (let count = 1; count <= steps; count++) dots.push(at(begin + ((end - begin) * count) / steps));
  }
  return dots;
}

function dotBox([x, y]: Pixel): Box {
  return { left: x, right: x, top: y, bottom: y };
}

/**
 * Where a stretch of a line enters a box and leaves it, as parts of its length; null where it misses it or is not finite.
 *
 * Source: Liang and Barsky 1984.
 */
function partWithin(from: Pixel, to: Pixel, box: Box): readonly [number, number] | null {
  let [begin, end] = [0, 1];
  const sides = [
    [from[0], to[0] - from[0], box.left, box.right],
    [from[1], to[1] - from[1], box.top, box.bottom],
  ] as const;
  for (const [start, run, least, most] of sides) {
    if (!Number.isFinite(run)) return null;
    if (run === 0) {
      if (start < least || start > most) return null;
      continue;
    }
    const [first, second] = [(least - start) / run, (most - start) / run];
    begin = Math.max(begin, Math.min(first, second));
    end = Math.min(end, Math.max(first, second));
  }
  return begin <= end ? [begin, end] : null;
}
