/** A line in pixels. */
export type Pixels = readonly Pixel[];
type Pixel = readonly [x: number, y: number];

/** A curve in pixels and the text that names it. */
interface Labelled {
  readonly name: string;
  readonly pixels: Pixels;
}

/** Where a text goes, in pixels: its left end and its middle. */
export interface Placed {
  readonly name: string;
  readonly x: number;
  readonly y: number;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const LETTER = 7.7;
const HALF_LINE = 9;
/** A name stands at least so much nearer to its own curve than to any other. */
const APART = 14;
/** Curves are looked at so far beyond the bounds, and no further: values may be of any size. */
const BEYOND = 100;

/**
 * Puts each curve's name beside it: inside `bounds`, on no curve and no other name, and nearer to its own curve than to any other.
 *
 * @param avoid Further lines that no name may stand on.
 * @returns null where that cannot be done for all; a legend then names them.
 */
export function placeLabels(
  curves: readonly Labelled[],
  bounds: Box,
  avoid: readonly Pixels[] = [],
): readonly Placed[] | null {
  const shown: Box = {
    left: bounds.left - BEYOND,
    right: bounds.right + BEYOND,
    top: bounds.top - BEYOND,
    bottom: bounds.bottom + BEYOND,
  };
  const lines = [...curves.map(({ pixels }) => pixels), ...avoid].map((line) => resample(line, shown, 6));
  const taken: Box[] = [];
  const placed: Placed[] = [];
  for (const [own, { name, pixels }] of curves.entries()) {
    // Nothing of it is in the picture.
    if (lines[own]!.length === 0) continue;
    const box = resample(pixels, shown, 14)
      .flatMap((anchor) => around(anchor, name.length * LETTER))
      .filter((one) => outside(one, bounds) === 0 && !taken.some((other) => overlap(one, other)))
      .filter((one) => lines[own]!.every((dot) => distance(dot, one) > 1))
      .map((one) => ({ one, room: roomAround(one, lines, own) }))
      .filter(({ room }) => room >= APART)
      .reduce<{ one: Box; room: number } | undefined>(
        (a, b) => (a === undefined || b.room > a.room ? b : a),
        undefined,
      );
    if (box === undefined) return null;
    taken.push(box.one);
    placed.push({ name, x: box.one.left, y: (box.one.top + box.one.bottom) / 2 });
  }
  return placed;
}

/** Puts a point's name near it, inside `bounds`: where most room is to all lines and other names. */
export function placeName(
  name: string,
  [x, y]: Pixel,
  bounds: Box,
  lines: readonly Pixels[],
  others: readonly Placed[],
): Placed {
  const width = name.length * LETTER;
  const dots = lines.map((line) => resample(line, bounds, 6));
  const taken = others.map((one) => boxOf(one.x, one.y, one.name.length * LETTER));
  const [best] = [x + 12, x - 12 - width, ...[0.5, 0.35, 0.65, 0.2, 0.8].map((part) => x - part * width)]
    .flatMap((left) => [22, -22, 34, -34, 48, 64, 80].map((shift) => boxOf(left, y + shift, width)))
    .map((box) => ({
      box,
      cost: outside(box, bounds) + (taken.some((other) => overlap(box, other)) ? 3 * APART : 0),
      room: Math.min(APART, roomAround(box, dots, -1)),
    }))
    .sort((a, b) => b.room - b.cost - (a.room - a.cost));
  return { name, x: best!.box.left, y: (best!.box.top + best!.box.bottom) / 2 };
}

function boxOf(left: number, middle: number, width: number): Box {
  return { left, right: left + width, top: middle - HALF_LINE, bottom: middle + HALF_LINE };
}

/** Pixels to the nearest other line; more than some do not count. */
function roomAround(box: Box, lines: readonly Pixels[], own: number): number {
  let room = 3 * APART;
  for (const [index, line] of lines.entries()) {
    if (index === own) continue;
    for (const dot of line) room = Math.min(room, distance(dot, box));
  }
  return room;
}

/** Places left and right of a point, a little above or below it. */
function around([x, y]: Pixel, width: number): Box[] {
  return [x + 8, x - 8 - width].flatMap((left) => [-14, 0, 14].map((shift) => boxOf(left, y + shift, width)));
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
function resample(pixels: Pixels, box: Box, step: number): Pixel[] {
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
