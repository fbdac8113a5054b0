import { InputError, type Model, onnx, tensor } from "@exitkit/core-gpu";

const caller = "llm-exit-init.tokensOnly";
const int64 = onnx.dataTypeOf("int64");

/** What exporters call the inputs beside the tokens. */
const kinds = {
  mask: /^attention_mask$/,
  positions: /^position_ids$/,
  past: /^(past_key_values|past)\b/,
  branch: /^use_cache_branch$/,
} as const;

/**
 * An exported decoder as a function of its tokens alone: whole texts, with nothing past and nothing padded. The attention mask
 * becomes ones, positions 0 … t − 1, past keys and values empty; of the outputs the logits stay. Exports that have these
 * inputs (Optimum's, transformers.js') can then be cut, and imported by early-exit's `importBackbone`, as any model of one
 * input.
 *
 * A model with tokens alone keeps its nodes.
 *
 * @throws InputError where there is no input `input_ids` int32 or int64 [n, t], an input that is none of these, a past input
 * whose heads or width are not stated, or no output `logits`.
 * @example
 * ```ts
 * import { proposeCuts, readModelFile } from "@exitkit/core-gpu";
 * import { importBackbone } from "@exitkit/early-exit";
 * import { tokensOnly } from "@exitkit/llm-exit-init";
 * const model = tokensOnly(await readModelFile("decoder.onnx"));
 * const backbone = importBackbone(model, { taps: proposeCuts(model).slice(0, 1), shapes: { input_ids: ["n", 16] } });
 * console.assert(backbone.units === 16 && backbone.classes === 40);
 * ```
 */
export function tokensOnly(model: Model): Model {
  const graph = model?.proto?.graph;
  if (graph === undefined) {
    throw new InputError(
      caller,
      "the model must be a Model",
      typeof model,
      "Read it first: await readModelFile(path).",
    );
  }
  const weights = new Set(graph.initializer.map(({ name }) => name));
  const inputs = graph.input.filter(({ name }) => !weights.has(name));
  const tokens = inputs.find(({ name }) => name === "input_ids");
  const logits = graph.output.find(({ name }) => name === "logits");
  if (tokens === undefined || logits === undefined) {
    const has = [...inputs, ...graph.output].map(({ name }) => onnx.quoted(name)).join(", ");
    throw new InputError(caller, 'the model must have an input "input_ids" and an output "logits"', has);
  }
  const made = graph.node.flatMap(({ output }) => output);
  const taken = new Set([...made, ...weights, ...inputs.map(({ name }) => name)]);
  const build = builder((stem) => onnx.uniqueName(stem, taken));
  const shape = build.node("Shape", [tokens.name]);
  for (const info of inputs) {
    if (info !== tokens) feed(build, info, tokens.name, shape);
  }
  const changed = onnx.changed(graph, {
    node: [...build.nodes, ...graph.node],
    initializer: [...graph.initializer, ...build.initializers],
    input: graph.input.filter(({ name }) => name === tokens.name || weights.has(name)),
    output: [logits],
  });
  return { proto: onnx.changed(model.proto, { graph: changed }) };
}

type Builder = ReturnType<typeof builder>;

function builder(fresh: (stem: string) => string) {
  const nodes: onnx.NodeProto[] = [];
  const initializers: onnx.TensorProto[] = [];
  return {
    nodes,
    initializers,
    node(
      type: string,
      input: readonly string[],
      attributes: Parameters<typeof attributesOf>[0] = {},
      output?: string,
    ): string {
      const name = output ?? fresh(`tokens_only_${type}`);
      const attribute = attributesOf(attributes);
      nodes.push(
        onnx.create(onnx.NodeProtoSchema, {
          opType: type,
          name: `/${name}`,
          input: [...input],
          output: [name],
          attribute,
        }),
      );
      return name;
    },
    ints(values: readonly number[], shape: readonly number[] = [values.length]): string {
      const name = fresh("tokens_only_ints");
      initializers.push(onnx.tensorProto(name, tensor("int64", shape, values)));
      return name;
    },
    bool(name: string, shape: readonly number[], value: boolean): void {
      initializers.push(onnx.tensorProto(name, tensor("bool", shape, [value])));
    },
  };
}

function attributesOf(given: { readonly [name: string]: number | onnx.TensorProto }) {
  return Object.entries(given).map(([name, value]) =>
    onnx.create(
      onnx.AttributeProtoSchema,
      typeof value === "number"
        ? { name, type: onnx.AttributeType.INT, i: BigInt(value) }
        : { name, type: onnx.AttributeType.TENSOR, t: value },
    ),
  );
}

/** Writes nodes that make what an input would have been fed, under its name. */
function feed(build: Builder, info: onnx.ValueInfoProto, tokens: string, shape: string): void {
  const { name } = info;
  const type = info.type?.value.case === "tensorType" ? info.type.value.value : undefined;
  const elemType = type?.elemType ?? 0;
  const ones = (output?: string) =>
    build.node("ConstantOfShape", [shape], { value: onnx.tensorProto("", tensor("int64", [1], [1])) }, output);
  const cast = (from: string) => void build.node("Cast", [from], { to: elemType }, name);
  if (kinds.mask.test(name)) {
    if (elemType === int64) ones(name);
    else cast(ones());
  } else if (kinds.positions.test(name)) {
    const counted = build.node("CumSum", [ones(), build.ints([1], [])]);
    const places = build.node("Sub", [counted, build.ints([1], [])]);
    cast(places);
  } else if (kinds.past.test(name)) {
    build.node("ConstantOfShape", [emptyPast(build, name, type, tokens)], { value: zero(name, elemType) }, name);
  } else if (kinds.branch.test(name)) {
    build.bool(name, type?.shape?.dim.map(() => 1) ?? [1], false);
  } else {
    const known = "Known beside input_ids are attention_mask, position_ids, past_key_values… and use_cache_branch.";
    throw new InputError(caller, "inputs must be those of a decoder", onnx.quoted(name), known);
  }
}

function zero(name: string, elemType: number): onnx.TensorProto {
  if (elemType === onnx.dataTypeOf("float32")) return onnx.tensorProto("", tensor("float32", [1], [0]));
  throw new InputError(
    caller,
    `${onnx.quoted(name)} must be float32`,
    `type ${elemType}`,
    "Export the model in float32.",
  );
}

type TensorType = Extract<NonNullable<onnx.ValueInfoProto["type"]>["value"], { case: "tensorType" }>["value"];

/** The shape of no keys or values, [n, heads, 0, h]: of four dimensions the two that are stated, a batch and no tokens. */
function emptyPast(build: Builder, name: string, type: TensorType | undefined, tokens: string): string {
  const stated = type?.shape?.dim.map(({ value }) => (value.case === "dimValue" ? Number(value.value) : null)) ?? [];
  const open = stated.flatMap((size, axis) => (size === null ? [axis] : []));
  if (stated.length !== 4 || open.length !== 2 || open[0] !== 0) {
    const actual = `[${stated.map((size) => size ?? "?").join(", ")}]`;
    throw new InputError(caller, `${onnx.quoted(name)} must be [n, heads, past, h] with known heads and h`, actual);
  }
  const whole = build.node("Shape", [tokens]);
  const batch = build.node("Gather", [whole, build.ints([0])], { axis: 0 });
  const rest = stated.slice(1).map((size) => size ?? 0);
  return build.node("Concat", [batch, build.ints(rest)], { axis: 0 });
}
