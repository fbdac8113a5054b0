import {
  addTaps,
  describeModel,
  InputError,
  type Model,
  onnx,
  ops,
  type TensorInfo,
  type Value,
} from "@exitkit/core-gpu";
import { z } from "zod";
import type { ExitModel } from "../exits/exits.ts";

/** A whole trained network in a cascade. */
export interface CascadeMember {
  /** Name for people, unique in the cascade. */
  readonly name: string;
  /** The network: a plain one, or one with exits of its own, which then stand in the cascade one after another. */
  readonly model: Model | ExitModel;
  /** Of a plain network, the output with its logits, float32 `[n, k]`. Needed where it has several outputs. */
  readonly output?: string;
  /** Names of its classes in the order of its logits. All members of a cascade state them, or none: then their orders are taken to agree. */
  readonly classes?: readonly string[];
  /** What its logits are divided by, > 0, as `fitTemperature` finds it. Default 1. */
  readonly temperature?: number;
  /** (x − mean) ÷ standardDeviation for each channel of the cascade's input, done in the graph in front of this member. */
  readonly normalise?: { readonly mean: readonly number[]; readonly standardDeviation: readonly number[] };
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
const positive = z.number().positive();

export const memberSchema = z.strictObject({
  name: z.string().min(1),
  model: z.custom<Model | ExitModel>(
    (value) => isObject(value) && ("proto" in value || ("exits" in value && "model" in value)),
    { message: "must be a model or an exit model" },
  ),
  output: z.string().optional(),
  classes: z.array(z.string()).readonly().optional(),
  temperature: positive.optional(),
  normalise: z
    .strictObject({ mean: z.array(z.number()).readonly(), standardDeviation: z.array(positive).readonly() })
    .optional(),
});

/** A member as it is put into the graph. */
export interface MemberPart {
  readonly name: string;
  /** The network with everything the cascade reads as its outputs. */
  readonly model: Model;
  readonly input: TensorInfo;
  /** Its own early exits, none of a plain network. */
  readonly early: ExitModel["exits"];
  /** The tensor with its last logits. */
  readonly logits: string;
}

/** Looks a member up and refuses what cannot be joined. */
export function partOf(caller: string, { name, model: given, output }: CascadeMember): MemberPart {
  const exitModel = "exits" in given ? given : undefined;
  const model = exitModel === undefined ? (given as Model) : exitModel.model;
  const { inputs, outputs } = describeModel(model);
  const [input] = inputs;
  if (input === undefined || inputs.length !== 1) {
    const actual = inputs.map((each) => onnx.quoted(each.name)).join(", ") || "none";
    throw new InputError(caller, `member "${name}" must have exactly one input`, actual, "Make the others constants.");
  }
  if (exitModel !== undefined) {
    const last = exitModel.exits.at(-1)!;
    if (output !== undefined) {
      throw new InputError(caller, `output is for plain networks; member "${name}" has exits`, onnx.quoted(output));
    }
    if (last.scores === undefined) {
      const fix = "Name the tensor of its logits in defineExits.";
      throw new InputError(caller, `the last exit of member "${name}" must name its scores`, "none", fix);
    }
    const early = exitModel.exits.slice(0, -1);
    const read = early.flatMap(({ tap, confidence, prediction, scores }) => [
      tap,
      confidence,
      prediction,
      scores ?? tap,
    ]);
    return { name, model: addTaps(model, [...read, last.scores]), input, early, logits: last.scores };
  }
  const names = outputs.map((each) => each.name);
  if (output !== undefined && !names.includes(output)) {
    const expectation = `output of member "${name}" must be an output of its model`;
    throw new InputError(caller, expectation, onnx.quoted(output), onnx.suggestion(output, names));
  }
  if (output === undefined && names.length !== 1) {
    const actual = `${names.length}: ${names.map(onnx.quoted).join(", ")}`;
    throw new InputError(caller, `member "${name}" must have one output, or say which`, actual, "Pass output.");
  }
  return { name, model, input, early: [], logits: output ?? names[0]! };
}

/** What stands between the cascade's input and a member: normalisation, another size of the picture. Undefined for nothing. */
export function entrance(
  caller: string,
  member: CascadeMember,
  from: TensorInfo,
  to: TensorInfo,
): ((x: Value) => Value) | undefined {
  const { name, normalise } = member;
  const printed = ({ dtype, shape, unknownRank }: TensorInfo) =>
    `${dtype} ${unknownRank ? "of unknown rank" : `[${shape.map((size) => size ?? "?").join(", ")}]`}`;
  const given = from.shape.slice(1);
  const wanted = to.unknownRank ? given : to.shape.slice(1);
  const differs = wanted.map((size, axis) => typeof size === "number" && size !== given[axis]);
  const onlySize = given.length === 3 && wanted.length === 3 && !differs[0];
  const resizes = onlySize && (differs[1] || differs[2]);
  const known = [...given.slice(1), ...wanted.slice(1)].every((size) => typeof size === "number");
  if (from.dtype !== to.dtype || wanted.length !== given.length || (differs.includes(true) && !(resizes && known))) {
    const fix = "Members may differ in height and width of [n, c, h, w]; those are resized.";
    throw new InputError(caller, `member "${name}" must take the cascade's input, ${printed(from)}`, printed(to), fix);
  }
  if (normalise !== undefined) checkNormalise(caller, name, normalise, from, printed(from));
  if (normalise === undefined && !resizes) return undefined;
  return (x) => {
    let y = x;
    if (resizes) y = ops.resize(y, [wanted[1] as number, wanted[2] as number], { mode: "bilinear" });
    if (normalise === undefined) return y;
    const column = (values: readonly number[]) => {
      const shape = [1, values.length, ...given.slice(1).map(() => 1)];
      return { dtype: "float32", shape, data: Float32Array.from(values) } as const;
    };
    return ops.div(ops.sub(y, column(normalise.mean)), column(normalise.standardDeviation));
  };
}

function checkNormalise(
  caller: string,
  name: string,
  { mean, standardDeviation }: NonNullable<CascadeMember["normalise"]>,
  { dtype, shape }: TensorInfo,
  printed: string,
): void {
  if (dtype !== "float32" || shape.length < 2) {
    throw new InputError(caller, `member "${name}" can only be normalised in float32 [n, c, ...]`, printed);
  }
  if (mean.length !== shape[1] || standardDeviation.length !== shape[1]) {
    const expectation = `normalise of member "${name}" must have a number for each of the ${shape[1]} channels`;
    throw new InputError(caller, expectation, `${mean.length} means, ${standardDeviation.length} standard deviations`);
  }
}

/** For each class of the first member, its column in the member's logits; undefined where the order is the same. */
export function columnsOf(caller: string, first: CascadeMember, member: CascadeMember): readonly number[] | undefined {
  const { classes } = first;
  if ((classes === undefined) !== (member.classes === undefined)) {
    const without = classes === undefined ? first.name : member.name;
    const expectation = "all members must state their classes, or none";
    throw new InputError(caller, expectation, `none of member "${without}"`, "Their orders may differ.");
  }
  if (classes === undefined || member.classes === undefined) return undefined;
  const own = member.classes;
  const repeated = own.find((name, at) => own.indexOf(name) !== at);
  if (repeated !== undefined) {
    throw new InputError(caller, `classes of member "${member.name}" must differ`, `${onnx.quoted(repeated)} twice`);
  }
  const missing = [...classes.filter((name) => !own.includes(name)), ...own.filter((name) => !classes.includes(name))];
  if (missing.length > 0) {
    const expectation = `member "${member.name}" must know the classes of member "${first.name}", in any order`;
    throw new InputError(
      caller,
      expectation,
      `only one of them knows ${missing.slice(0, 3).map(onnx.quoted).join(", ")}`,
    );
  }
  const columns = classes.map((name) => own.indexOf(name));
  return columns.every((column, at) => column === at) ? undefined : columns;
}
