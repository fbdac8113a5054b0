/**
 * Channels of every tensor of a graph as numbered labels. Labels that a sum, a product or a shared weight ties together are one class:
 * they go together or not at all. A class that something fixes (an output of the network, an operator without a rule) stays.
 */
export interface Labels {
  /** As many new labels, each a class of its own. */
  fresh(count: number): Int32Array;
  /** Makes one class of each pair. */
  join(a: Int32Array, b: Int32Array): void;
  /** Keeps these channels; `why` is told to people. */
  fix(labels: Int32Array, why: string): void;
  /** The class of a label. */
  classOf(label: number): number;
  /** Why a class stays, or undefined. */
  fixedBy(label: number): string | undefined;
}

/** No labels yet. */
export function makeLabels(): Labels {
  const parents: number[] = [];
  const reasons = new Map<number, string>();
  const root = (label: number): number => {
    let at = label;
    while (parents[at] !== at) {
      parents[at] = parents[parents[at]!]!;
      at = parents[at]!;
    }
    return at;
  };
  return {
    fresh(count) {
      const first = parents.length;
      for (let at = 0; at < count; at++) parents.push(first + at);
      return Int32Array.from({ length: count }, (_, at) => first + at);
    },
    join(a, b) {
      a.forEach((label, at) => {
        const [one, other] = [root(label), root(b[at]!)];
        if (one === other) return;
        const reason = reasons.get(one) ?? reasons.get(other);
        parents[Math.max(one, other)] = Math.min(one, other);
        if (reason !== undefined) reasons.set(Math.min(one, other), reason);
      });
    },
    fix(labels, why) {
      for (const label of labels) if (!reasons.has(root(label))) reasons.set(root(label), why);
    },
    classOf: root,
    fixedBy: (label) => reasons.get(root(label)),
  };
}
