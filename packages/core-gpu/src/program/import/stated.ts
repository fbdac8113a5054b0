import { dtypeName, isTensorType } from "../../onnx/dtypes.ts";
import type { GraphProto, ValueInfoProto } from "../../onnx/onnx_pb.ts";
import { elementTypes } from "../../onnx/types.ts";
import type { Dimension, Shape } from "../dimensions.ts";
import type { Spec } from "../spec.ts";
import { dtypeOf, unsupported } from "./node.ts";

/** What a model's file states of its tensors. */
export interface Stated {
  /** The stated dimensions of a graph input, null where the file is silent; undefined where even their number is not known. */
  dimensions(name: string): readonly (Dimension | null)[] | undefined;
  /** ONNX's number of the element type, 0 where it is not known. */
  elementType(name: string): number;
}

/** Reads what the file states; `shapes` of the caller go before it. */
export function readStated(graph: GraphProto, shapes: Readonly<Record<string, Shape>>): Stated {
  const infos = new Map(
    [...graph.valueInfo, ...graph.output, ...graph.input].map((info): [string, ValueInfoProto] => [info.name, info]),
  );
  const types = elementTypes(graph);
  return {
    dimensions(name) {
      const given = shapes[name];
      if (given !== undefined) return given;
      const type = infos.get(name)?.type;
      if (!isTensorType(type)) return undefined;
      return type.value.value.shape?.dim.map(({ value }) => {
        if (value.case === "dimValue") return Number(value.value);
        return value.case === "dimParam" && value.value !== "" ? value.value : null;
      });
    },
    elementType: (name) => types.get(name) ?? 0,
  };
}

/**
 * The dimensions of graph inputs as symbols that programs take: names of other letters get `_`, dimensions that are not
 * stated the name of the input and the axis.
 */
export function inputShape(stated: Stated, name: string): Shape | undefined {
  return stated
    .dimensions(name)
    ?.map((dimension, axis) => (typeof dimension === "number" ? dimension : symbolOf(dimension ?? `${name}_${axis}`)));
}

function symbolOf(text: string): string {
  const letters = text.replace(/\W+/g, "_");
  return /^[A-Za-z_]/.test(letters) ? letters : `_${letters}`;
}

/**
 * The spec the file states of a node's output; only opaque nodes need it.
 *
 * @param bound For each symbol of the file what it is among the values that were given.
 */
export function statedSpec(stated: Stated, name: string, bound: ReadonlyMap<string, Dimension>): Spec {
  const dimensions = stated.dimensions(name);
  const elementType = stated.elementType(name);
  if (elementType === 0) unsupported(`the file does not state the type of its output "${name}"`);
  if (dimensions === undefined || dimensions.includes(null))
    unsupported(`the file does not state the shape of its output "${name}" (${dtypeName(elementType)})`);
  return {
    dtype: dtypeOf(elementType),
    shape: (dimensions as Shape).map((dimension) =>
      typeof dimension === "number" ? dimension : (bound.get(dimension) ?? symbolOf(dimension)),
    ),
  };
}
