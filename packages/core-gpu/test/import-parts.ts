import { type Model, onnx, type Spec, type Tensor } from "../src/index.ts";

interface Node {
  readonly type: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, number | string | onnx.GraphProto>>;
}

export function node({ type, inputs, outputs, domain = "", attributes = {} }: Node): onnx.NodeProto {
  return onnx.create(onnx.NodeProtoSchema, {
    opType: type,
    domain,
    name: `/${outputs[0]}`,
    input: [...inputs],
    output: [...outputs],
    attribute: Object.entries(attributes).map(([name, value]) =>
      onnx.create(onnx.AttributeProtoSchema, {
        name,
        ...(typeof value === "number"
          ? { type: onnx.AttributeType.INT, i: BigInt(value) }
          : typeof value === "string"
            ? { type: onnx.AttributeType.STRING, s: new TextEncoder().encode(value) }
            : { type: onnx.AttributeType.GRAPH, g: value }),
      }),
    ),
  });
}

function info(name: string, { dtype, shape }: Spec): onnx.ValueInfoProto {
  const dim = shape.map((size) =>
    typeof size === "number"
      ? { value: { case: "dimValue" as const, value: BigInt(size) } }
      : { value: { case: "dimParam" as const, value: size } },
  );
  return onnx.create(onnx.ValueInfoProtoSchema, {
    name,
    type: { value: { case: "tensorType", value: { elemType: onnx.dataTypeOf(dtype), shape: { dim } } } },
  });
}

function weight(name: string, { dtype, shape, data }: Tensor): onnx.TensorProto {
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  return onnx.create(onnx.TensorProtoSchema, {
    name,
    dataType: onnx.dataTypeOf(dtype),
    dims: shape.map(BigInt),
    rawData,
  });
}

export interface Parts {
  readonly nodes: readonly Node[];
  readonly inputs: Readonly<Record<string, Spec>>;
  readonly outputs: Readonly<Record<string, Spec>>;
  readonly weights?: Readonly<Record<string, Tensor>>;
  readonly stated?: Readonly<Record<string, Spec>>;
  readonly opset?: number;
  readonly domains?: readonly string[];
}

export function graphOf({ nodes, inputs, outputs, weights = {}, stated = {} }: Parts): onnx.GraphProto {
  const infos = (specs: Readonly<Record<string, Spec>>) => Object.entries(specs).map(([name, of]) => info(name, of));
  return onnx.create(onnx.GraphProtoSchema, {
    name: "test",
    node: nodes.map(node),
    input: infos(inputs),
    output: infos(outputs),
    valueInfo: infos(stated),
    initializer: Object.entries(weights).map(([name, value]) => weight(name, value)),
  });
}

export function modelOf(parts: Parts): Model {
  const { opset = 17, domains = [] } = parts;
  const proto = onnx.create(onnx.ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: BigInt(opset) }, ...domains.map((domain) => ({ domain, version: 1n }))],
    graph: graphOf(parts),
  });
  return { proto };
}
