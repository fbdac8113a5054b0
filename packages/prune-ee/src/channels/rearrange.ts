import type { Labels } from "./labels.ts";

/** Where channels lie after a reshape: on which axis, and which label each index has. */
interface Rearranged {
  readonly axis: number;
  readonly labels: Int32Array;
}

/**
 * Follows the channels on one axis through a reshape: an axis that stays, one that is merged with its neighbours (flattening, heads that are
 * joined), or one that is split into several (features into heads, queries, keys and values). In a split what has the same index on
 * the axis that counts heads becomes one class: heads go whole.
 *
 * @returns Undefined where the channels are spread otherwise.
 */
export function rearranged(
  labels: Labels,
  { axis, labels: own }: Rearranged,
  before: readonly number[],
  after: readonly number[],
): Rearranged | undefined {
  const block = blockOf(before, after, axis);
  if (block === undefined || own.length === 1) return undefined;
  const from = block.from.filter((at) => before[at] !== 1);
  const to = block.to.filter((at) => after[at] !== 1);
  const inner = (axes: readonly number[], shape: readonly number[], place: number) =>
    axes.slice(place + 1).reduce((size, at) => size * shape[at]!, 1);
  if (to.length === 1) {
    const size = after[to[0]!]!;
    const stride = inner(from, before, from.indexOf(axis));
    return {
      axis: to[0]!,
      labels: Int32Array.from({ length: size }, (_, at) => own[Math.floor(at / stride) % own.length]!),
    };
  }
  if (from.length !== 1) return undefined;
  // Queries, keys and values, or keys and values, stand before the heads; else heads come first.
  const place = to.length > 2 && after[to[0]!]! <= 3 ? 1 : 0;
  const stride = inner(to, after, place);
  const heads = after[to[place]!]!;
  const first = Int32Array.from({ length: heads }, (_, head) => own[head * stride]!);
  labels.join(
    own,
    Int32Array.from(own, (_, at) => first[Math.floor(at / stride) % heads]!),
  );
  return { axis: to[place]!, labels: first };
}

/** The smallest run of axes around `axis` that a reshape changes into a run of as many elements. */
function blockOf(before: readonly number[], after: readonly number[], axis: number) {
  let [i, j] = [0, 0];
  while (i < before.length && j < after.length) {
    const [from, to] = [[i], [j]];
    let [one, other] = [before[i++]!, after[j++]!];
    while (one !== other) {
      if (one < other && i < before.length) {
        from.push(i);
        one *= before[i++]!;
      } else if (j < after.length) {
        to.push(j);
        other *= after[j++]!;
      } else return undefined;
    }
    if (from.includes(axis)) return { from, to };
  }
  return undefined;
}
