import { InputError } from "@exitkit/core-gpu";
import { type Bits, type LayerTimes, timeOf } from "../times/layer-times.ts";
import type { Dependencies } from "./propagate.ts";
import { classesOf, componentsOf } from "./select.ts";

/** How much time is wanted. */
export interface TimeSelection {
  readonly table: LayerTimes;
  /** Of the time of all layers, in (0, 1]. */
  readonly share: number;
  readonly bits: Bits;
  readonly multipleOf: number;
}

/**
 * Which classes go so that all layers together take a wanted share of their time by a table. Step by step the component goes down that
 * loses the smallest share of its squared norm for each millisecond saved, by as many blocks as pay best; widths that save nothing
 * are stepped over. At the end what matters most comes back as far as the time allows. What is not in the table (attention's own products, sums, norms) is taken to cost nothing.
 *
 * @throws InputError where the table lacks a layer, or no widths reach the share; it says which would be the least.
 */
export function classesForTime(
  caller: string,
  dependencies: Dependencies,
  importance: ReadonlyMap<number, number>,
  { table, share, bits, multipleOf }: TimeSelection,
) {
  const { labels, products } = dependencies;
  const options = componentsOf(dependencies, importance).map((component) => {
    const widest = Math.max(...component.layers.map((layer) => layer.labels.length));
    const blocks = Math.ceil(widest / multipleOf);
    const sum = (classes: Iterable<number>) =>
      [...classes].reduce((total, one) => total + (importance.get(one) ?? 0) ** 2, 0);
    const all = sum(new Set(component.layers.flatMap((layer) => [...layer.labels].map(labels.classOf))));
    return Array.from({ length: blocks }, (_, down) => {
      const removed =
        down === 0 ? new Set<number>() : classesOf(dependencies, component, { keep: 1 - down / blocks, multipleOf });
      return { removed, lost: all === 0 ? 0 : sum(removed) / all };
    });
  });
  const classes = products.map((product) => ({
    ...product,
    in: Array.from(product.in, labels.classOf),
    out: Array.from(product.out, labels.classOf),
  }));
  const owners = new Map(
    options.flatMap((steps, at) => steps.flatMap(({ removed }) => [...removed].map((one) => [one, at]))),
  );
  const touched = options.map((_, at) =>
    classes.filter((product) => [...product.in, ...product.out].some((one) => owners.get(one) === at)),
  );
  const levels = options.map(() => 0);
  const goes = (one: number) => {
    const owner = owners.get(one);
    return owner !== undefined && options[owner]![levels[owner]!]!.removed.has(one);
  };
  const known = new Map<string, number>();
  const total = (some: typeof classes) =>
    some.reduce((sum, { place, ...product }, at) => {
      const [input, output] = (["in", "out"] as const).map((key) =>
        product[key].reduce((count, one) => count + (goes(one) ? 0 : 1), 0),
      ) as [number, number];
      const key = `${classes.indexOf(some[at]!)} ${input} ${output}`;
      const time = known.get(key) ?? timeOf(caller, table, { ...place, in: input, out: output }, bits);
      known.set(key, time);
      return sum + time;
    }, 0);
  const before = total(classes);
  const mostBack = () => {
    let best: { readonly component: number; readonly level: number; readonly regained: number } | undefined;
    for (const [component, steps] of options.entries()) {
      const level = levels[component]!;
      for (let less = 0; less < level; less++) {
        levels[component] = less;
        const regained = steps[level]!.lost - steps[less]!.lost;
        if (regained > (best?.regained ?? 0) && total(classes) <= share * before)
          best = { component, level: less, regained };
      }
      levels[component] = level;
    }
    return best;
  };
  let after = before;
  while (after > share * before) {
    let best:
      | { readonly component: number; readonly level: number; readonly price: number; readonly saved: number }
      | undefined;
    for (const [component, steps] of options.entries()) {
      const level = levels[component]!;
      const now = total(touched[component]!);
      for (let next = level + 1; next < steps.length; next++) {
        levels[component] = next;
        const saved = now - total(touched[component]!);
        const price = (steps[next]!.lost - steps[level]!.lost) / saved;
        if (saved > 0 && price < (best?.price ?? Number.POSITIVE_INFINITY))
          best = { component, level: next, price, saved };
      }
      levels[component] = level;
    }
    if (best === undefined) {
      const actual = `${share}, where ${(after / before).toFixed(3)} is the least`;
      const fix = multipleOf > 1 ? "Ask for more, or pass a smaller multipleOf." : "Ask for more.";
      throw new InputError(caller, "time.share must be one that widths in whole blocks reach", actual, fix);
    }
    levels[best.component] = best.level;
    after = total(classes);
  }
  // The last step may have saved more than was needed: what matters most comes back as far as the time allows.
  for (let back = mostBack(); back !== undefined; back = mostBack()) levels[back.component] = back.level;
  after = total(classes);
  const removed: ReadonlySet<number> = new Set(options.flatMap((steps, at) => [...steps[levels[at]!]!.removed]));
  return { removed, milliseconds: { before, after } };
}
