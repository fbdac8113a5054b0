import {
  attachModel,
  describeModel,
  InputError,
  type Model,
  onnx,
  ops,
  parseOptions,
  programToModel,
  raiseOpset,
  type Spec,
  spec,
  type TensorInfo,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { type Confidence, confidenceOf, predictionOf } from "../exits/confidence.ts";
import { defineExits } from "../exits/define-exits.ts";
import type { Exit, ExitModel } from "../exits/exits.ts";
import { type CascadeMember, columnsOf, entrance, type MemberPart, memberSchema, partOf } from "./member.ts";

/** How sure a member of a cascade is: see {@link CascadeOptions}. */
export type CascadeConfidence = Confidence | "agreement";

/** Options of {@link cascade}. */
export interface CascadeOptions {
  /**
   * How sure a member is, from what it answers. Default `maxProbability`. `agreement` is the largest probability times the
   * share of the members run so far, itself among them, that answer the same class.
   */
  readonly confidence?: CascadeConfidence;
  /**
   * Who answers for a sample: its `own` member, where it stopped, or the probabilities `averaged` over the members run by then, which
   * are paid for. Default `averaged`.
   */
  readonly answer?: "own" | "averaged";
  /** Weights of the members in the average, > 0. Default: all the same. */
  readonly weights?: readonly number[];
  /** Shape of a sample of the cascade's input, without the batch. Default: the last member's. */
  readonly sampleShape?: readonly number[];
}

const optionsSchema = z.strictObject({
  confidence: z.enum(["maxProbability", "margin", "normalisedEntropy", "agreement"]).default("maxProbability"),
  answer: z.enum(["own", "averaged"]).default("averaged"),
  weights: z.array(z.number().positive()).readonly().optional(),
  sampleShape: z.array(z.int().min(1)).readonly().optional(),
});

const caller = "early-exit.cascade";
/** Below every probability that matters: the logarithm of an average stays finite. */
const LEAST = 1e-30;

/**
 * Joins whole trained networks, cheap ones first, to a network with exits: each member is a stage, its answer an exit. A sample that
 * a member is sure of never reaches the next. `openStaged`, `recordExits`, `replay`, `solveThresholds`, `calibrate`, `countExitCosts` and
 * `exportSingle` work on it as on any other, so a cascade can be one file.
 *
 * With p_i = softmax(logits_i ÷ temperature_i) and weights w, exit j answers argmax of p_j (`own`) or of Σ_{i ≤ j} w_i·p_i ÷ Σ_{i ≤ j} w_i
 * (`averaged`); its `scores` are the logits ÷ temperature, or the average's logarithm. With `ALWAYS` everywhere the cascade is its first
 * member, with `NEVER` and `own` its last. Costs are the members' sums; a member that is no dearer than one before it is allowed, and
 * chooseCascade never picks one.
 *
 * Exits of a member with exits of its own come before its last answer and answer for themselves.
 *
 * @param members One or more, in the order in which they are run. All read the same input; one that takes another height and width
 * gets it resized (bilinear).
 * @throws InputError on no members, a repeated name, members with several inputs or outputs, of operator sets that cannot be raised to the highest of
 * them, with inputs that do not fit, with other numbers of classes or other classes, or unknown options.
 * Source: cascades of whole networks as Wang et al., "Wisdom of committees", 2022 [M]; averaging what is already paid for, the same [M].
 * @example
 * ```ts
 * import { openDevice, readModelFile, tensor } from "@exitkit/core-gpu";
 * import { cascade, openStaged } from "@exitkit/early-exit";
 * const network = await readModelFile("network.onnx");
 * const both = cascade([
 *   { name: "small", model: network }, // a smaller network of yours
 *   { name: "large", model: network },
 * ]);
 * const device = await openDevice("cpu");
 * const staged = await openStaged(device, both);
 * const { leftAt } = await staged.classify(tensor("float32", [4, 3, 8, 8]), [0.9]);
 * console.assert(leftAt.length === 4);
 * await device.close();
 * ```
 */
export function cascade(members: readonly CascadeMember[], options: CascadeOptions = {}): ExitModel {
  const { confidence, answer, weights, sampleShape } = parseOptions(caller, optionsSchema, options);
  checkMembers(members);
  if (weights !== undefined && weights.length !== members.length) {
    throw new InputError(
      caller,
      `weights must have one number for each of the ${members.length} members`,
      `${weights.length}`,
    );
  }
  const parts = members.map((member) => partOf(caller, member));
  const input = inputOf(parts.at(-1)!.input, sampleShape);
  const opset = Math.max(...parts.map((part) => describeModel(part.model).opset));
  let model = emptyModel(parts[0]!.model, input, opset);
  const attach = (prefix: string, part: Model, inputs: Readonly<Record<string, string>>) => {
    const attached = attachModel(model, part, { prefix, inputs });
    model = attached.model;
    return attached.outputs;
  };
  const k = classesOf(members, parts);
  const exits: Exit[] = [];
  let total = 0;
  let sum: string | undefined;
  const predictions: string[] = [];
  parts.forEach((part, j) => {
    const member = members[j]!;
    const { name, early, logits } = part;
    let reads = input.name;
    const enter = entrance(caller, member, input, part.input);
    if (enter !== undefined) {
      const shape = ["n", ...input.shape.slice(1)] as (string | number)[];
      const program = trace(({ x }) => ({ y: enter(x) }), { x: spec("float32", shape) });
      reads = attach(`${name}/input`, programToModel(program, { opset }), { x: reads }).y!;
    }
    const made = attach(name, raised(part, opset), { [part.input.name]: reads });
    for (const exit of early) {
      const scores = exit.scores === undefined ? {} : { scores: made[exit.scores]! };
      const names = { tap: made[exit.tap]!, confidence: made[exit.confidence]!, prediction: made[exit.prediction]! };
      exits.push({ name: `${name}/${exit.name}`, ...names, ...scores });
    }
    const weight = weights?.[j] ?? 1;
    total += weight;
    const columns = columnsOf(caller, members[0]!, member);
    const temperature = member.temperature ?? 1;
    const before = { ...(sum === undefined ? {} : { sum }), predictions: [...predictions] };
    const program = answerProgram(k, { confidence, answer, weight, total, columns, temperature }, before);
    const wiring = {
      x: made[logits]!,
      ...(answer === "averaged" && sum !== undefined ? { before: sum } : {}),
      ...(confidence === "agreement" ? Object.fromEntries(predictions.map((at, i) => [`predictions.${i}`, at])) : {}),
    };
    const answers = attach(`${name}/answer`, programToModel(program, { opset }), wiring);
    if (answer === "averaged") sum = answers.sum!;
    predictions.push(answers.said!);
    const scores = answers.scores!;
    exits.push({ name, tap: made[logits]!, confidence: answers.confidence!, prediction: answers.prediction!, scores });
  });
  const outputs = [exits.at(-1)!.scores!];
  const graph = model.proto.graph!;
  const known = new Map(graph.valueInfo.map((info) => [info.name, info]));
  const output = outputs.map((name) => known.get(name) ?? onnx.create(onnx.ValueInfoProtoSchema, { name }));
  return defineExits({ proto: onnx.changed(model.proto, { graph: onnx.changed(graph, { output }) }) }, exits);
}

/** A member's network in the operator set of all. */
function raised({ name, model }: MemberPart, opset: number): Model {
  try {
    return raiseOpset(model, opset);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const expectation = `member "${name}" must go into the members' operator set, ${opset}`;
    const own = String(describeModel(model).opset);
    throw new InputError(caller, expectation, own, `Export it for that version. (${error.message})`, error);
  }
}

function checkMembers(members: readonly CascadeMember[]): void {
  if (!Array.isArray(members) || members.length === 0) {
    throw new InputError(
      caller,
      "a cascade needs at least one member",
      Array.isArray(members) ? "none" : typeof members,
    );
  }
  members.forEach((member, at) => {
    const parsed = memberSchema.safeParse(member);
    if (parsed.success) return;
    const { path, message } = parsed.error.issues[0]!;
    const place = path.length === 0 ? "" : ` at ${path.join(".")}`;
    throw new InputError(caller, `member ${at} must be { name, model, ... }`, `${message}${place}`);
  });
  const repeated = members.find(({ name }, at) => members.findIndex((each) => each.name === name) !== at);
  if (repeated !== undefined) throw new InputError(caller, "members' names must differ", `"${repeated.name}" twice`);
}

function inputOf(last: TensorInfo, sampleShape: readonly number[] | undefined): TensorInfo {
  if (sampleShape === undefined) return last;
  const batch = last.unknownRank ? null : (last.shape[0] ?? null);
  return { name: last.name, dtype: last.dtype, shape: [batch, ...sampleShape] };
}

/** A graph with the input and nothing else. */
function emptyModel(first: Model, { name, dtype, shape, unknownRank }: TensorInfo, opset: number): Model {
  const elemType = onnx.dataTypeOf(dtype as "float32");
  const dim = shape.map((size) => {
    if (size === null) return {};
    return typeof size === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(size) } }
      : { value: { case: "dimParam" as const, value: size } };
  });
  const value = unknownRank ? { elemType } : { elemType, shape: { dim } };
  const graph = { name: "cascade", input: [{ name, type: { value: { case: "tensorType" as const, value } } }] };
  const opsetImport = [{ domain: "", version: BigInt(opset) }];
  const { irVersion } = first.proto;
  return { proto: onnx.create(onnx.ModelProtoSchema, { irVersion, producerName: "exitkit", opsetImport, graph }) };
}

/** k, which all members have. */
function classesOf(
  members: readonly CascadeMember[],
  parts: readonly { readonly model: Model; readonly logits: string }[],
): number {
  const sizes = members.map(({ name, classes }, j) => {
    const { model, logits } = parts[j]!;
    const stated = describeModel(model)
      .outputs.find((output) => output.name === logits)!
      .shape.at(-1);
    const k = typeof stated === "number" ? stated : classes?.length;
    if (k === undefined || k < 2) {
      const fix = "Pass classes, or state the shape in the model.";
      throw new InputError(
        caller,
        `the number of classes of member "${name}" must be known, ≥ 2`,
        String(k ?? "?"),
        fix,
      );
    }
    if (classes !== undefined && classes.length !== k) {
      throw new InputError(
        caller,
        `member "${name}" gives ${k} logits and must name as many classes`,
        `${classes.length}`,
      );
    }
    return k;
  });
  const other = sizes.findIndex((k) => k !== sizes[0]);
  if (other >= 0) {
    const expectation = `all members must tell the ${sizes[0]} classes of member "${members[0]!.name}" apart`;
    throw new InputError(caller, expectation, `${sizes[other]} of member "${members[other]!.name}"`);
  }
  return sizes[0]!;
}

interface AnswerOptions {
  readonly confidence: CascadeConfidence;
  readonly answer: "own" | "averaged";
  readonly weight: number;
  /** Sum of the weights so far. */
  readonly total: number;
  readonly columns: readonly number[] | undefined;
  readonly temperature: number;
}

/** From a member's logits x `[n, k]`, and what was said before it, what the cascade answers there. */
function answerProgram(
  k: number,
  { confidence, answer, weight, total, columns, temperature }: AnswerOptions,
  before: { readonly sum?: string; readonly predictions: readonly string[] },
) {
  const rows = spec("float32", ["n", k]);
  const averaged = answer === "averaged";
  const specs: TreeRecord<Spec> = {
    x: rows,
    ...(averaged && before.sum !== undefined ? { before: rows } : {}),
    ...(confidence === "agreement" ? { predictions: before.predictions.map(() => spec("int64", ["n"])) } : {}),
  };
  return trace((values) => {
    const given = values as unknown as Given;
    const ordered = columns === undefined ? given.x : ops.gather(given.x, tensor("int64", [k], columns), { axis: 1 });
    const scaled = temperature === 1 ? ordered : ops.div(ordered, temperature);
    const said = predictionOf(scaled);
    let scores = scaled;
    let sum: Value | undefined;
    if (averaged) {
      const share = weight === 1 ? ops.softmax(scaled) : ops.mul(ops.softmax(scaled), weight);
      sum = given.before === undefined ? share : ops.add(given.before, share);
      // The first member's average is its own answer, to the bit.
      if (given.before !== undefined) scores = ops.log(ops.maximum(ops.div(sum, total), LEAST));
    }
    const prediction = predictionOf(scores);
    const sure =
      confidence === "agreement"
        ? agreement(scores, prediction, [...(given.predictions ?? []), said])
        : confidenceOf(scores, confidence);
    return { scores, said, prediction, confidence: sure, ...(sum === undefined ? {} : { sum }) };
  }, specs);
}

interface Given {
  readonly x: Value;
  /** The weighted sum of the probabilities before. */
  readonly before?: Value;
  readonly predictions?: readonly Value[];
}

/** The largest probability times the share of the members run so far that say what is answered. */
function agreement(scores: Value, prediction: Value, members: readonly Value[]): Value {
  const votes = members.map((said) => ops.cast(ops.equal(said, prediction), "float32"));
  const share = ops.div(
    votes.reduce((sum, vote) => ops.add(sum, vote)),
    votes.length,
  );
  return ops.mul(share, confidenceOf(scores, "maxProbability"));
}
