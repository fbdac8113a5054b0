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

/**
 * Puts each curve's name next to it: of all places left and right of the curve the one that covers the least of curves and
 * names, is not mistaken for another curve's, and stays inside `bounds`. Curves too close together for that get their name
 * a little further off with a thin line to it.
 *
 * @param avoid Further lines without a name of their own here.
 */
export function placeLabels(curves: readonly Labelled[], bounds: Box, avoid: readonly Pixels[] = []): Placed[] {
  const lines = [...curves.map(({ pixels }) => pixels), ...avoid].map((line) => resample(line));
  const taken: Box[] = [];
  return curves.map(({ name }, own) => {
    const width = name.length * LETTER;
    let best: { cost: number; box: Box; anchor: Pixel } | undefined;
    const anchors = resample(curves[own]!.pixels, 14);
    for (const [index, anchor] of anchors.entries()) {
      const crowd = 25 * crowding(anchor, lines, own) + index / anchors.length;
      for (const box of around(anchor, width)) {
        const enough = (best?.cost ?? Number.POSITIVE_INFINITY) - crowd;
        const cost = costOf({ box, anchor, lines, own, taken, bounds }, enough) + crowd;
        if (best === undefined || cost < best.cost) best = { cost, box, anchor };
      }
    }
    const { box, anchor } = best!;
    taken.push(box);
    const place = { name, x: box.left, y: (box.top + box.bottom) / 2 };
    if (distance(anchor, box) <= FAR) return place;
    lines.push(resample([anchor, edge(anchor, box)]));
    return { ...place, leader: [anchor, edge(anchor, box)] };
  });
}

interface Candidate {
  readonly box: Box;
  readonly anchor: Pixel;
  readonly lines: readonly Pixels[];
  readonly own: number;
  readonly taken: readonly Box[];
  readonly bounds: Box;
}

/** How bad a place is; stops adding up when it is at `enough`. */
function costOf({ box, anchor, lines, own, taken, bounds }: Candidate, enough: number): number {
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
  const leader = resample([anchor, edge(anchor, box)]);
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

/** A point every `step` pixels along the line. */
function resample(pixels: Pixels, step = 6): Pixel[] {
  const dots: Pixel[] = pixels.slice(0, 1);
  for (let index = 1; index < pixels.length; index++) {
    const [fromX, fromY] = pixels[index - 1]!;
    const [toX, toY] = pixels[index]!;
    const steps = Math.max(1, Math.ceil(Math.hypot(toX - fromX, toY - fromY) / step));
    for (let at = 1; at <= steps; at++) {
      dots.push([fromX + ((toX - fromX) * at) / steps, fromY + ((toY - fromY) * at) / steps]);
    }
  }
  return dots;
}
