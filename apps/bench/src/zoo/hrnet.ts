import { type Application, ops, type Program, type Spec, sizeOf, spec, trace, type Value } from "@exitkit/core-gpu";

/** What distinguishes one HRNetV2 from another. */
interface HrnetConfig {
  /** Channels of the finest branch; each coarser one has twice as many. */
  readonly width: number;
  /** Bottlenecks of the first stage. */
  readonly bottlenecks: number;
  /** Modules of stages 2 to 4. */
  readonly modules: readonly [number, number, number];
  /** Residual blocks of a branch in a module. */
  readonly blocks: number;
  /** Channels of the redesigned exit heads. */
  readonly headWidth: number;
}

/** The two networks of the paper, as ADP-C has them. */
export const HRNET = {
  w48: { width: 48, bottlenecks: 4, modules: [1, 4, 3], blocks: 4, headWidth: 128 },
  w18Small: { width: 18, bottlenecks: 2, modules: [1, 3, 2], blocks: 2, headWidth: 64 },
} as const satisfies Readonly<Record<string, HrnetConfig>>;

/** A convolution's weight by the layer's name; its bias or batch norm, folded into it, adds no MACs that are counted. */
type Weight = (name: string, shape: readonly number[]) => Value;

/**
 * HRNetV2 with early exits behind its first three stages and redesigned heads: logits [n, k, h ÷ 4, w ÷ 4] of four exits. An exit reads
 * all branches at ¼. Heads 1 to 3 are three, two and one levels of average pool, 1 × 1 convolution and ReLU and as many
 * of doubling and a 1 × 1 convolution; the fourth is the network's own. Batch norms are folded.
 *
 * Source: Sun et al., "High-resolution representations for labeling pixels and regions", 2019; ADP-C's code, "flex" heads [S].
 */
function exits(config: HrnetConfig, classes: number, frame: Value, weight: Weight): readonly Value[] {
  const { width, bottlenecks, modules, blocks, headWidth } = config;
  const conv = (name: string, x: Value, out: number, kernel = 3, stride = 1): Value => {
    const own = weight(name, [out, x.shape[1] as number, kernel, kernel]);
    return ops.conv(x, own, { stride, padding: (kernel - 1) / 2 });
  };
  const act = (name: string, x: Value, out: number, kernel = 3, stride = 1) =>
    ops.relu(conv(name, x, out, kernel, stride));
  const sides = (x: Value) => x.shape.slice(2) as readonly number[];
  const resized = (x: Value, to: Value) => ops.resize(x, sides(to));

  const bottleneck = (name: string, x: Value): Value => {
    const inner = act(`${name}.conv2`, act(`${name}.conv1`, x, 64, 1), 64);
    const short = x.shape[1] === 256 ? x : conv(`${name}.downsample`, x, 256, 1);
    return ops.relu(ops.add(conv(`${name}.conv3`, inner, 256, 1), short));
  };
  const basic = (name: string, x: Value): Value => {
    const c = x.shape[1] as number;
    return ops.relu(ops.add(x, conv(`${name}.conv2`, act(`${name}.conv1`, x, c), c)));
  };
  /** Branches to themselves and to each other. */
  const joined = (name: string, given: readonly Value[]): readonly Value[] => {
    const branches = given.map((x, branch) => {
      let y = x;
      for (let block = 0; block < blocks; block++) y = basic(`${name}.branches.${branch}.${block}`, y);
      return y;
    });
    return branches.map((own, to) => {
      const parts = branches.map((x, from) => {
        const place = `${name}.fuse.${to}.${from}`;
        if (from === to) return x;
        if (from > to) return resized(conv(place, x, width * 2 ** to, 1), own);
        let y = x;
        for (let step = from + 1; step < to; step++) y = act(`${place}.${step}`, y, width * 2 ** from, 3, 2);
        return conv(`${place}.${to}`, y, width * 2 ** to, 3, 2);
      });
      return ops.relu(parts.reduce((sum, part) => ops.add(sum, part)));
    });
  };
  /** A stage: one branch more than before, then its modules. */
  const stage = (index: number, before: readonly Value[]): readonly Value[] => {
    const first = index === 2;
    let branches = first ? [act("transition1.0", before[0]!, width)] : [...before];
    branches.push(act(`transition${index - 1}.${index - 1}`, before.at(-1)!, width * 2 ** (index - 1), 3, 2));
    for (let module = 0; module < modules[index - 2]!; module++) {
      branches = [...joined(`stage${index}.${module}`, branches)];
    }
    return branches;
  };
  const together = ([finest, ...others]: readonly Value[]): Value =>
    others.length === 0 ? finest! : ops.concat([finest!, ...others.map((x) => resized(x, finest!))], 1);
  /** Levels down by pooling, and up again. */
  const redesigned = (name: string, x: Value, levels: number): Value => {
    let y = x;
    const sizes: (readonly number[])[] = [];
    for (let level = 0; level < levels; level++) {
      sizes.push(sides(y));
      y = act(`${name}.down.${level}`, ops.averagePool(y, { kernel: 2, stride: 2 }), headWidth, 1);
    }
    for (let level = levels - 1; level >= 0; level--) {
      y = conv(`${name}.up.${level}`, ops.resize(y, sizes[level]!), level === 0 ? classes : headWidth, 1);
    }
    return y;
  };

  let first = act("conv2", act("conv1", frame, 64, 3, 2), 64, 3, 2);
  for (let block = 0; block < bottlenecks; block++) first = bottleneck(`layer1.${block}`, first);
  const second = stage(2, [first]);
  const third = stage(3, second);
  const last = together(stage(4, third));
  return [
    redesigned("exit1", first, 3),
    redesigned("exit2", together(second), 2),
    redesigned("exit3", together(third), 1),
    conv("exit4.1", act("exit4.0", last, last.shape[1] as number, 1), classes, 1),
  ];
}

/**
 * An HRNetV2 as a program of its weights (inputs `weights.NAME`) and one frame [1, 3, h, w], whose sides 32 divides: outputs `logits.0` to
 * `logits.3`.
 */
export function hrnetProgram(
  config: HrnetConfig,
  [h, w]: readonly [number, number],
  classes = 19,
): Program<unknown, unknown> {
  const weights: Record<string, Spec> = {};
  const frame = spec("float32", [1, 3, h, w]);
  const collect: Weight = (name, shape) => {
    weights[name] = spec("float32", shape);
    return ops.expand(zero, shape);
  };
  let zero: Value;
  trace(
    (inputs) => {
      zero = inputs.zero;
      return { logits: exits(config, classes, inputs.frame, collect) };
    },
    { frame, zero: spec("float32", []) },
  );
  const flat = Object.fromEntries(Object.entries(weights).map(([name, own]) => [name.replaceAll(".", "/"), own]));
  return trace(
    (inputs) => {
      const given = inputs.weights as Readonly<Record<string, Value>>;
      return { logits: exits(config, classes, inputs.frame, (name) => given[name.replaceAll(".", "/")]!) };
    },
    { weights: flat, frame },
  );
}

/** MACs of the convolutions up to each of the four exits, those of the exits before among them. */
export function hrnetMacs(config: HrnetConfig, [h, w]: readonly [number, number], classes = 19): readonly number[] {
  let macs: readonly number[] = [];
  trace(
    (inputs) => {
      const logits = exits(config, classes, inputs.frame, (_, shape) => ops.expand(inputs.zero, shape));
      macs = convolutionMacs(logits);
      return { logits };
    },
    { frame: spec("float32", [1, 3, h, w]), zero: spec("float32", []) },
  );
  return macs;
}

/** MACs of the convolutions that each value needs, added to those of the values before it. */
function convolutionMacs(values: readonly Value[]): readonly number[] {
  const seen = new Set<Application>();
  let macs = 0;
  return values.map((value) => {
    const waiting = [value];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (next.producer.kind !== "result" || seen.has(next.producer.application)) continue;
      const { application } = next.producer;
      seen.add(application);
      const { operator, operands } = application;
      if (operator.name === "conv") {
        macs += sizeOf(next.shape as readonly number[]) * sizeOf(operands[1]!.shape.slice(1) as readonly number[]);
      }
      waiting.push(...operands);
    }
    return macs;
  });
}
