import {
  InputError,
  layers,
  type Model,
  ops,
  parseOptions,
  programToModel,
  type Spec,
  type Tensor,
  type TreeRecord,
  trace,
  type Value,
  type ValuesOf,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { onlyOutputs } from "../exits/outputs.ts";
import type { Backbone, BackboneResult } from "./backbone.ts";
import { answersOf, checkInput, featureShape } from "./shapes.ts";

/** Options of {@link programBackbone}. */
export interface ProgramBackboneOptions<P> {
  /** First or trained parameters: a record of tensors, nested as the network likes. */
  readonly params: P;
  /** Spec of the input: a symbol first (`"n"`), then numbers. */
  readonly input: Spec;
  /** What the network computes. It is traced, so it may hold any TypeScript; `taps` names the features exits may read. */
  readonly apply: (
    params: ValuesOf<P>,
    x: Value,
    training: boolean,
  ) => { readonly logits: Value; readonly taps: Readonly<Record<string, Value>>; readonly updated?: object };
  /** Decisions that each sample takes, u: tokens of a sequence; for logits [n · u, k]. Default 1; logits [n, u, k] say it themselves. */
  readonly units?: number;
  /** ONNX operator set of its models, 11 to 23. Default 17. */
  readonly opset?: number;
}

const caller = "early-exit.programBackbone";
const INPUT = "x";
const OUTPUT = "logits";

const optionsSchema = z.strictObject({
  params: z.custom<object>((value) => typeof value === "object" && value !== null, "must be a record of tensors"),
  input: z.custom<Spec>((value) => Array.isArray((value as Partial<Spec> | null)?.shape), "must be a spec"),
  apply: z.custom<(...args: never[]) => object>((value) => typeof value === "function", "must be a function"),
  units: z.int().min(1).default(1),
  opset: z.int().min(11).max(23).default(17),
});

/**
 * Makes a backbone of a TypeScript network. Its ONNX model has the input `x`, the output `logits` and each tap under its
 * own name. Leaves called `runningMean` and `runningVariance` are statistics, everything else is trained.
 *
 * @throws InputError on an unknown option, an input whose first dimension is not a symbol or whose others are, no taps,
 * a tap called `x` or `logits`, logits that are not [n, k], [n, u, k] or [n · u, k], or where an operator refuses.
 * @example
 * ```ts
 * import { generator, layers, ops, spec } from "@exitkit/core-gpu";
 * import { programBackbone } from "@exitkit/early-exit";
 * const random = generator(1);
 * const backbone = programBackbone({
 *   params: {
 *     first: layers.initLinear(random, { in: 4, out: 8 }),
 *     last: layers.initLinear(random, { in: 8, out: 3 }),
 *   },
 *   input: spec("float32", ["n", 4]),
 *   apply: (params, x) => {
 *     const hidden = ops.relu(layers.linear(params.first, x));
 *     return { taps: { hidden }, logits: layers.linear(params.last, hidden) };
 *   },
 * });
 * console.assert(backbone.classes === 3 && backbone.taps.hidden?.join() === "8");
 * ```
 */
export function programBackbone<P extends object>(options: ProgramBackboneOptions<P>): Backbone {
  const { input, units, opset } = parseOptions(caller, optionsSchema, options);
  const params = options.params as unknown as TreeRecord<Tensor>;
  checkInput(caller, "the input", input);
  const apply = (given: TreeRecord<Value>, x: Value, training: boolean): BackboneResult => {
    const { logits, taps, updated = {} } = options.apply(given as unknown as ValuesOf<P>, x, training);
    return { logits, taps, updated: updated as TreeRecord<Value> };
  };
  const program = trace(
    (given) => {
      const { logits, taps } = apply(given.params as TreeRecord<Value>, given.x, false);
      checkTaps(Object.keys(taps));
      return { [OUTPUT]: ofUnits(logits, units), ...taps };
    },
    { [INPUT]: input, params: layers.specsOf<TreeRecord<Tensor>>(params) },
  );
  const shapes = new Map(program.outputs.map(({ name, spec }) => [name, spec]));
  const answers = answersOf(caller, OUTPUT, shapes.get(OUTPUT)!);
  shapes.delete(OUTPUT);
  return {
    params,
    input,
    ...answers,
    taps: Object.fromEntries([...shapes].map(([name, spec]) => [name, featureShape(caller, name, spec)])),
    output: OUTPUT,
    opset,
    isTrainable: (path) => !layers.isStatistic(path),
    apply,
    toModel: (trained): Model =>
      onlyOutputs(programToModel(program, { opset, constants: { params: trained } }), [OUTPUT]),
  };
}

/** Logits [n · u, k] as [n, u, k]. */
function ofUnits(logits: Value, units: number): Value {
  return units === 1 || logits.shape.length !== 2 ? logits : ops.reshape(logits, [-1, units, logits.shape[1]!]);
}

function checkTaps(names: readonly string[]): void {
  if (names.length === 0) {
    throw new InputError(caller, "the network must name features that exits read", "no taps", "Return { taps: … }.");
  }
  const taken = names.find((name) => name === INPUT || name === OUTPUT || name === "");
  if (taken === undefined) return;
  throw new InputError(caller, `taps may not be called "${INPUT}", "${OUTPUT}" or nothing`, `"${taken}"`);
}
