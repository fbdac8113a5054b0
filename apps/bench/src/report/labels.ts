/** A line in pixels. */
export type Pixels = readonly Pixel[];
export type Pixel = readonly [x: number, y: number];

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
  const lines = [...curves.map(({ pixels }) => pixels), ...avoid].map(resample);
  const taken: Box[] = [];
  return curves.map(({ name }, own) => {
    const width = name.length * LETTER;
    let best: { cost: number; box: Box; anchor: Pixel } | undefined;
    for (const [index, anchor] of lines[own]!.entries()) {
      for (const box of around(anchor, width)) {
        const cost = costOf(box, anchor, lines, own, taken, bounds) + index / lines[own]!.length;
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

function costOf(box: Box, anchor: Pixel, lines: readonly Pixels[], own: number, taken: readonly Box[], bounds: Box) {
  const far = distance(anchor, box);
  const covered = lines.map((line) => line.filter((dot) => distance(dot, box) < 2).length);
  const others = lines.filter((_, index) => index !== own);
  const crowded = others.filter((line) =>
    line.some((dot) => Math.hypot(dot[0] - anchor[0], dot[1] - anchor[1]) < 8),
  ).length;
  const leader = far > FAR ? resample([anchor, edge(anchor, box)]) : [];
  const crossed = others.filter((line) =>
    line.some((dot) => leader.some((at) => Math.hypot(dot[0] - at[0], dot[1] - at[1]) < 4)),
  );
  // Without a line to its curve, a name closer to another curve than to its own misleads.
  const gap = Math.min(...others.flatMap((line) => line.map((dot) => distance(dot, box))));
  return (
    1000 * outside(box, bounds) +
    300 * taken.filter((other) => overlap(box, other)).length +
    covered.reduce((sum, dots, index) => sum + (index === own ? 6 : 14) * dots, 0) +
    25 * crowded +
    (far > FAR ? 20 + 0.4 * far + 8 * crossed.length : gap < 14 ? (14 - gap) * 4 : 0)
  );
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

/** A point every few pixels along the line. */
function resample(pixels: Pixels): Pixel[] {
  const dots: Pixel[] = pixels.slice(0, 1);
  for (let index = 1; index < pixels.length; index++) {
    const [fromX, fromY] = pixels[index - 1]!;
    const [toX, toY] = pixels[index]!;
    const steps = Math.max(1, Math.ceil(Math.hypot(toX - fromX, toY - fromY) / 6));
    for (let step = 1; step <= steps; step++) {
      dots.push([fromX + ((toX - fromX) * step) / steps, fromY + ((toY - fromY) * step) / steps]);
    }
  }
  return dots;
}
