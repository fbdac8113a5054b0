import { InputError, ops, type Program, type Spec, spec, tensor, trace, type Value } from "@exitkit/core-gpu";
import { type Fill, type Masked, masked, type StageCost } from "./masked.ts";
import { featureOf, type SegmentationExitNetwork, type SegmentationNetwork } from "./network.ts";

/** How a stage is run: all pixels, then masked; or only those that go on, gathered. */
export type Reading = "dense" | "pixels";

/** A stage as a program, and what it costs. */
export interface StageProgram {
  readonly program: Program<unknown, unknown>;
  readonly cost: StageCost;
}

const whole = (after: Value): Value => after;

/** What the stages give when nothing is left out: shapes of all features before each stage, and the grid of the decisions. */
export interface Layout {
  /** [e]: features there are before stage i. */
  readonly given: readonly Readonly<Record<string, Spec>>[];
  /** [e]: names of those that it uses for what is needed. */
  readonly used: readonly ReadonlySet<string>[];
  /** [e]: names of the features that stage i makes and later ones use. */
  readonly needed: readonly ReadonlySet<string>[];
  /** [e]: names of the features there are before stage i that it or a later one uses. */
  readonly ahead: readonly ReadonlySet<string>[];
  /** [h, w]. */
  readonly grid: readonly [number, number];
}

/**
 * Traces the whole network once to see its shapes.
 *
 * @throws InputError where taps of early stages lie on different grids, an exit's logits are not [1, k, h, w] on that grid, or the
 * network's logits not [1, k, h', w'].
 */
export function layoutOf(caller: string, network: SegmentationExitNetwork): Layout {
  const { frame, classes, stages, heads } = network;
  if (!Array.isArray(heads) || heads.length !== stages.length - 1 || heads.some((head) => typeof head !== "function")) {
    const actual = Array.isArray(heads) ? `${heads.length}` : typeof heads;
    throw new InputError(
      caller,
      `network.heads must be ${stages.length - 1} functions, one for each early stage`,
      actual,
    );
  }
  const given: Record<string, Spec>[] = [];
  let grid: readonly [number, number] | undefined;
  trace(
    (inputs) => {
      let features: Record<string, Value> = { frame: inputs.frame };
      stages.forEach((stage, index) => {
        given.push(
          Object.fromEntries(Object.entries(features).map(([name, { dtype, shape }]) => [name, spec(dtype, shape)])),
        );
        features = { ...features, ...stage.compute(features, whole) };
        const tap = featureOf(caller, features, stage.tap, index);
        const logits = index < heads.length ? heads[index]!(tap) : tap;
        const [n, k, h, w] = logits.shape as number[];
        if (logits.shape.length !== 4 || n !== 1 || k !== classes) {
          throw new InputError(
            caller,
            `logits of exit ${index} must be [1, ${classes}, h, w]`,
            `[${logits.shape.join(", ")}]`,
          );
        }
        if (index === heads.length) return;
        const own = `[${tap.shape.slice(2).join(", ")}] and logits on [${h}, ${w}]`;
        grid ??= [h!, w!];
        if (tap.shape[2] !== grid[0] || tap.shape[3] !== grid[1] || h !== grid[0] || w !== grid[1]) {
          const fix = "Pool or resize the finer taps inside their stage.";
          throw new InputError(
            caller,
            `the tap and logits of exit ${index} must lie on the grid [${grid.join(", ")}]`,
            `a tap on ${own}`,
            fix,
          );
        }
      });
      return features;
    },
    { frame: spec("float32", [1, ...frame]) },
  );
  return { given, ...usedFeatures(caller, network, given), grid: grid! };
}

/** For each stage what it uses of what there is, and what it makes that later ones use; from the last stage back. */
function usedFeatures(
  caller: string,
  network: SegmentationExitNetwork,
  all: Layout["given"],
): Pick<Layout, "used" | "needed" | "ahead"> {
  const used: ReadonlySet<string>[] = [];
  const ahead: ReadonlySet<string>[] = [];
  const wanted = new Set<string>();
  const needed: ReadonlySet<string>[] = [];
  // Both sides of a carry are used.
  const both = (after: Value, before: Value): Value => ops.add(after, ops.sum(before));
  for (let index = network.stages.length - 1; index >= 0; index--) {
    const { compute, tap } = network.stages[index]!;
    const own = new Set<string>();
    const { inputs, nodes, outputs } = trace(
      (inputs) => {
        const features = inputs.features as Record<string, Value>;
        const made = compute(features, both);
        const logits = featureOf(caller, { ...features, ...made }, tap, index);
        const kept = Object.entries(made).filter(([name, value]) => wanted.has(name) && features[name] !== value);
        for (const [name] of kept) own.add(name);
        return { logits: network.heads[index]?.(logits) ?? logits, made: Object.fromEntries(kept) };
      },
      { features: all[index]! },
    );
    const read = new Set([...nodes.flatMap((node) => node.inputs), ...outputs.map(({ value }) => value)]);
    needed.unshift(own);
    for (const name of own) wanted.delete(name);
    const names = inputs.filter(({ value }) => read.has(value)).map(({ name }) => name.slice("features.".length));
    for (const name of names) wanted.add(name);
    used.unshift(new Set(names));
    ahead.unshift(new Set(wanted));
  }
  return { used, needed, ahead };
}

/** What stages read the frame as. */
const FRAME = "frame";

/** Whether a feature lies on the grid of the decisions: such ones go from stage to stage as rows [h·w, c]. */
function onGrid({ shape, dtype }: Spec, [h, w]: readonly [number, number]): boolean {
  return dtype === "float32" && shape.length === 4 && shape[2] === h && shape[3] === w;
}

/** `where(plane, after, before)`, the carry of a mask. */
const carryOf =
  (plane: Value) =>
  (after: Value, before: Value): Value =>
    ops.where(plane, after, before);

/** A feature as it goes from stage to stage; the frame itself stays a plane. */
export function sentSpec(name: string, feature: Spec, grid: readonly [number, number]): Spec {
  return name !== FRAME && onGrid(feature, grid) ? spec("float32", [grid[0] * grid[1], feature.shape[1]!]) : feature;
}

/**
 * A stage behind a mask, its features given as `features`: those `made`, merged `logits` [h·w, k] and which pixels are `sure` [h·w]. The last
 * gives the frame's `own` classes, not yet merged, where the network's logits have its size; else merged `logits` [1, k, h', w'] to be resized.
 */
export function stageProgram(
  caller: string,
  network: SegmentationExitNetwork,
  layout: Layout,
  index: number,
  reading: Reading,
  fill: Fill,
): StageProgram {
  const { stages, heads, frame } = network;
  const { grid } = layout;
  const stage = stages[index]!;
  const last = index === heads.length;
  let cost: StageCost | undefined;
  const entries = Object.entries(layout.given[index]!);
  const specs = {
    ...sentSpecs(entries, layout.used[index]!, network, grid),
    ...(reading === "dense" ? { mask: spec("bool", [1, 1, ...grid]) } : { active: spec("int64", ["m", 1]) }),
    thresholds: spec("float32", [1, network.classes]),
  };
  const program = trace((inputs) => {
    const given = inputs as unknown as {
      readonly features: Readonly<Record<string, Value>>;
      readonly mask?: Value;
      readonly active?: Value;
      readonly before: Value;
      readonly thresholds: Value;
    };
    const plane = given.mask ?? planeOf(given.active!, grid);
    const carry = carryOf(plane);
    const { features, planed, rows } = received(entries, given.features, grid);
    const before = planed(given.before);
    const made = stage.compute(features, carry);
    const tap = featureOf(caller, { ...features, ...made }, stage.tap, index);
    const reading = masked({ grid, plane, active: given.active ?? null, fill, given: rows });
    if (last) {
      const answer = lastAnswer(reading, { tap, before, plane, grid, frame });
      cost = reading.cost();
      return answer;
    }
    const logits = reading.rows(carry(heads[index]!(tap), before));
    const kept: Record<string, Value> = {};
    for (const [name, value] of Object.entries(made)) {
      if (!layout.needed[index]!.has(name)) continue;
      kept[name] = onGrid(value, grid) ? reading.rows(value) : reading.whole(value);
    }
    cost = reading.cost();
    return { made: kept, logits, sure: sureOf(logits, given.thresholds) };
  }, specs);
  return { program, cost: cost! };
}

/**
 * All that is left of the network from stage `index` on, over whole planes and without a mask or an exit: where so much goes on that leaving
 * pixels out takes longer. Pixels that are done keep their logits. Inputs as a stage's; gives what the last stage gives.
 */
export function restProgram(
  caller: string,
  network: SegmentationExitNetwork,
  layout: Layout,
  index: number,
): StageProgram {
  const { stages, frame } = network;
  const { grid } = layout;
  let cost: StageCost | undefined;
  const entries = Object.entries(layout.given[index]!);
  const specs = {
    ...sentSpecs(entries, layout.ahead[index]!, network, grid),
    mask: spec("bool", [1, 1, ...grid]),
  };
  const program = trace(({ features: sent, mask: plane, before: earlier }) => {
    const read = received(entries, sent as unknown as Readonly<Record<string, Value>>, grid);
    let features = read.features;
    const before = read.planed(earlier as Value);
    for (const stage of stages.slice(index)) features = { ...features, ...stage.compute(features, whole) };
    const tap = featureOf(caller, features, stages.at(-1)!.tap, stages.length - 1);
    const reading = masked({ grid, plane: plane as Value, active: null, fill: { kind: "carried" }, given: read.rows });
    const answer = lastAnswer(reading, { tap, before, plane: plane as Value, grid, frame });
    cost = reading.cost();
    return answer;
  }, specs);
  return { program, cost: cost! };
}

/** Specs of what is sent to a stage: the features that are wanted, and the logits so far. */
function sentSpecs(
  entries: readonly (readonly [string, Spec])[],
  wanted: ReadonlySet<string>,
  { classes }: SegmentationExitNetwork,
  grid: readonly [number, number],
) {
  const sent = entries.filter(([name]) => wanted.has(name));
  return {
    features: Object.fromEntries(sent.map(([name, own]) => [name, sentSpec(name, own, grid)])),
    before: spec("float32", [grid[0] * grid[1], classes]),
  };
}

/** Features as stages compute with them, from what was sent; planes that are known as rows. */
function received(
  entries: readonly (readonly [string, Spec])[],
  sent: Readonly<Record<string, Value>>,
  grid: readonly [number, number],
) {
  const rows = new Map<Value, Value>();
  const planed = (own: Value): Value => {
    const plane = planeOfRows(own, grid);
    rows.set(plane, own);
    return plane;
  };
  const features: Record<string, Value> = {};
  for (const [name, own] of entries) {
    const value = sent[name];
    // What is read in vain is no input of the graph.
    if (value === undefined) features[name] = ops.expand(tensor(own.dtype, [], [0]), own.shape);
    else features[name] = name !== FRAME && onGrid(own, grid) ? planed(value) : value;
  }
  return { features, planed, rows };
}

interface Merging {
  readonly tap: Value;
  readonly before: Value;
  readonly plane: Value;
  readonly grid: readonly [number, number];
  /** [c, h, w]. */
  readonly frame: readonly number[];
}

/**
 * What the last stage gives: `own`, the classes of the network's own logits where these have the frame's size, to be merged with those of
 * the exits (no plane of logits is resized for it); else merged `classes` or `logits`.
 */
function lastAnswer(reading: Masked, merging: Merging): Readonly<Record<string, Value>> {
  const { tap, grid, frame } = merging;
  const [h, w] = tap.shape.slice(2);
  if (h === frame[1] && w === frame[2] && !(h === grid[0] && w === grid[1])) {
    return { own: ops.cast(ops.argMax(reading.whole(tap), { axis: 1 }), "uint8") };
  }
  return answered(mergedLogits(reading, merging), frame);
}

/** The network's logits where pixels went on, earlier ones elsewhere: on the network's own grid, or the frame's where that is coarser than the decisions'. */
function mergedLogits(reading: Masked, { tap, before, plane, grid, frame }: Merging): Value {
  const [h, w] = tap.shape.slice(2) as [number, number];
  if (h === grid[0] && w === grid[1]) return reading.whole(carryOf(plane)(tap, before));
  const to = h >= grid[0] && w >= grid[1] ? [h, w] : frame.slice(1);
  const resized = (value: Value) => (value.shape.slice(2).join() === to.join() ? value : ops.resize(value, to));
  return ops.where(
    ops.greater(ops.resize(ops.cast(plane, "float32"), to, { mode: "nearest" }), 0.5),
    resized(reading.whole(tap)),
    resized(before),
  );
}

/** Classes where logits have the frame's size; the logits themselves, to be resized, where they are smaller. */
function answered(logits: Value, frame: readonly number[]): { readonly classes: Value } | { readonly logits: Value } {
  if (logits.shape.slice(2).join() !== frame.slice(1).join()) return { logits };
  return { classes: ops.cast(ops.argMax(logits, { axis: 1 }), "uint8") };
}

/** The first stage: features `made`, `logits` [h·w, k] and which pixels are `sure` [h·w]. */
export function firstProgram(caller: string, network: SegmentationExitNetwork, layout: Layout): StageProgram {
  const [stage] = network.stages;
  let cost: StageCost | undefined;
  const { grid, needed } = layout;
  const program = trace(
    ({ frame, thresholds }) => {
      const made = stage!.compute({ frame }, whole);
      const plane = network.heads[0]!(featureOf(caller, made, stage!.tap, 0));
      const kept = Object.entries(made).filter(([name]) => needed[0]!.has(name));
      cost = wholeCost([...kept.map(([, value]) => value), plane]);
      const sent = kept.map(([name, value]) => [name, onGrid(value, grid) ? rowsOfPlane(value) : value]);
      const logits = rowsOfPlane(plane);
      return { made: Object.fromEntries(sent), logits, sure: sureOf(logits, thresholds) };
    },
    { frame: spec("float32", [1, ...network.frame]), thresholds: spec("float32", [1, network.classes]) },
  );
  return { program, cost: cost! };
}

/** The network without exits: the frame's `classes`, or `logits` to be resized. */
export function plainProgram(caller: string, network: SegmentationNetwork): StageProgram {
  let cost: StageCost | undefined;
  const program = trace(
    ({ frame }) => {
      const logits = logitsOf(caller, network, frame).at(-1)!;
      cost = wholeCost([logits]);
      return answered(logits, network.frame);
    },
    { frame: spec("float32", [1, ...network.frame]) },
  );
  return { program, cost: cost! };
}

/** The taps of all stages when nothing is left out, the last the network's logits. */
export function logitsOf(caller: string, network: SegmentationNetwork, frame: Value): readonly Value[] {
  let features: Record<string, Value> = { frame };
  return network.stages.map((stage, index) => {
    features = { ...features, ...stage.compute(features, whole) };
    return featureOf(caller, features, stage.tap, index);
  });
}

/** Cost of values over whole planes. */
function wholeCost(values: readonly Value[]): StageCost {
  const reading = masked({ grid: [0, 0], plane: values[0]!, active: null, fill: { kind: "carried" } });
  for (const value of values) reading.whole(value);
  return reading.cost();
}

/** uint8 [h·w], 1 where the softmax of some class exceeds its threshold. */
function sureOf(logits: Value, thresholds: Value): Value {
  const exceeds = ops.cast(ops.greater(ops.softmax(logits, { axis: 1 }), thresholds), "float32");
  return ops.cast(ops.max(exceeds, { axes: [1] }), "uint8");
}

/** bool [1, 1, h, w], true at the places [m, 1]. */
function planeOf(active: Value, [h, w]: readonly [number, number]): Value {
  const ones = ops.add(ops.mul(ops.cast(active, "float32"), 0), 1);
  return ops.greater(ops.reshape(ops.scatterNd(tensor("float32", [h * w, 1]), active, ones), [1, 1, h, w]), 0.5);
}

function planeOfRows(rows: Value, [h, w]: readonly [number, number]): Value {
  return ops.transpose(ops.reshape(rows, [1, h, w, rows.shape[1]!]), [0, 3, 1, 2]);
}

function rowsOfPlane(plane: Value): Value {
  const [, c, h, w] = plane.shape as [number, number, number, number];
  return ops.reshape(ops.transpose(plane, [0, 2, 3, 1]), [h * w, c]);
}
