import type { Dependencies } from "./propagate.ts";

/** Layers whose channels hang together through sums, products or shared weights: they are decided together. */
export interface Component {
  readonly layers: readonly { readonly weight: string; readonly labels: Int32Array }[];
  /** Classes of channels, the least important first. */
  readonly classes: readonly number[];
}

/** How many channels stay. */
export interface Selection {
  /** Share of every layer's channels that stays, in (0, 1]. */
  readonly keep: number;
  /** Widths are multiples of this, or the full width. */
  readonly multipleOf: number;
}

/** Which classes of channels go; whole blocks of every layer, the least important ones. */
export function classesToRemove(
  dependencies: Dependencies,
  importance: ReadonlyMap<number, number>,
  selection: Selection,
): ReadonlySet<number> {
  return new Set(
    componentsOf(dependencies, importance).flatMap((component) => [...classesOf(dependencies, component, selection)]),
  );
}

/** Which classes of one component go. */
export function classesOf({ labels }: Dependencies, component: Component, selection: Selection): ReadonlySet<number> {
  const removed = new Set<number>();
  const members = component.layers.map((layer) => [...layer.labels].map(labels.classOf));
  const targets = members.map((classes) => targetWidth(classes.length, selection));
  const widths = members.map((classes) => classes.length);
  const counts = countsByClass(members);
  const change = (one: number, by: 1 | -1) => {
    for (const [layer, count] of counts.get(one)!) widths[layer]! += by * count;
  };
  const gone: number[] = [];
  for (const one of component.classes) {
    const fits = [...counts.get(one)!].every(([layer, count]) => widths[layer]! - count >= targets[layer]!);
    if (!fits) continue;
    change(one, -1);
    gone.push(one);
  }
  // What hangs together may miss a multiple in another layer: the most important of what went comes back until all fit.
  const isWhole = (layer: number) =>
    widths[layer]! === members[layer]!.length || widths[layer]! % selection.multipleOf === 0;
  for (let at = gone.length - 1; at >= 0; at--) {
    const one = gone[at]!;
    if ([...counts.get(one)!.keys()].every(isWhole)) removed.add(one);
    else {
      change(one, 1);
      // A layer that this one shares with others may have left its multiple: those are looked at again.
      for (const back of removed) {
        if ([...counts.get(back)!.keys()].every(isWhole)) continue;
        removed.delete(back);
        change(back, 1);
      }
    }
  }
  return removed;
}

/** The least multiple of the block that is at least the wanted share; the full width where the block does not fit into it. */
function targetWidth(width: number, { keep, multipleOf }: Selection): number {
  const wanted = Math.max(multipleOf, Math.ceil((keep * width) / multipleOf - 1e-9) * multipleOf);
  return Math.min(width, wanted);
}

/** For each class, how many channels of each layer it holds. */
function countsByClass(members: readonly (readonly number[])[]): ReadonlyMap<number, ReadonlyMap<number, number>> {
  const counts = new Map<number, Map<number, number>>();
  members.forEach((classes, layer) => {
    for (const one of classes) {
      const own = counts.get(one) ?? new Map<number, number>();
      counts.set(one, own);
      own.set(layer, (own.get(layer) ?? 0) + 1);
    }
  });
  return counts;
}

/** What is decided together, each with its classes that may go. */
export function componentsOf(
  dependencies: Dependencies,
  importance: ReadonlyMap<number, number>,
): readonly Component[] {
  const { labels, splits } = dependencies;
  const parts = [...splits].flatMap(([node, all]) => all.map((part) => ({ weight: node.name, labels: part })));
  const layers = [...dependencies.layers, ...parts];
  const owners = new Map<number, number>();
  const parents = layers.map((_, at) => at);
  const root = (layer: number): number => {
    let at = layer;
    while (parents[at] !== at) at = parents[at]!;
    return at;
  };
  layers.forEach((layer, at) => {
    for (const label of layer.labels) {
      const one = labels.classOf(label);
      const owner = owners.get(one);
      if (owner === undefined) owners.set(one, at);
      else parents[root(at)] = root(owner);
    }
  });
  const grouped = new Map<number, number[]>();
  layers.forEach((_, at) => {
    grouped.set(root(at), [...(grouped.get(root(at)) ?? []), at]);
  });
  return [...grouped.values()].map((members) => {
    const own = members.map((at) => layers[at]!);
    const classes = new Set(own.flatMap((layer) => [...layer.labels].map(labels.classOf)));
    const free = [...classes].filter((one) => labels.fixedBy(one) === undefined);
    free.sort((a, b) => importance.get(a)! - importance.get(b)! || a - b);
    return { layers: own, classes: free };
  });
}
