import { create } from "@bufbuild/protobuf";
import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { dataTypeOf, dtypeName } from "../../onnx/dtypes.ts";
import { changed, indexModel } from "../../onnx/graph.ts";
import type { Model } from "../../onnx/model.ts";
import { quoted, suggestion } from "../../onnx/names.ts";
import { type TensorProto, TensorProtoSchema } from "../../onnx/onnx_pb.ts";
import type { Tensor } from "../../tensor.ts";
import { printShape } from "../dimensions.ts";

const caller = "core-gpu.exportModel";

/**
 * The model with other values in some of its initializers, as after training: names, nodes and everything else stay as
 * they were. Values are copied.
 *
 * @param params Tensors by the names of initializers, such as the `params` of {@link importModel}; those left out stay.
 * @throws InputError on a name that is no initializer, or a tensor of another dtype or shape.
 * @example
 * ```ts
 * import { exportModel, importModel, readModelFile, tensor } from "@exitkit/core-gpu";
 * const model = await readModelFile("network.onnx");
 * const [name, weight] = Object.entries(importModel(model).params)[0]!;
 * const trained = exportModel(model, { [name]: tensor(weight.dtype, weight.shape) });
 * console.assert(importModel(trained).params[name]!.data[0] === 0);
 * ```
 */
export function exportModel(model: Model, params: Readonly<Record<string, Tensor>>): Model {
  checkArguments("core-gpu.exportModel", { params: [params, "a record of tensors"] });
  const { graph } = indexModel(caller, model);
  const weights = new Map(graph.initializer.map((weight) => [weight.name, weight]));
  for (const [name, value] of Object.entries(params)) {
    const weight = weights.get(name);
    if (weight === undefined) {
      const fix = suggestion(name, weights.keys());
      throw new InputError(caller, "params must name initializers of the model", quoted(name), fix);
    }
    checkFit(weight, value);
  }
  const initializer = graph.initializer.map((weight) => {
    const value = Object.hasOwn(params, weight.name) ? params[weight.name]! : undefined;
    return value === undefined ? weight : withData(weight, value);
  });
  return { proto: changed(model.proto, { graph: changed(graph, { initializer }) }) };
}

function checkFit({ name, dataType, dims }: TensorProto, { dtype, shape }: Tensor): void {
  const fits =
    dataType === dataTypeOf(dtype) &&
    dims.length === shape.length &&
    shape.every((size, axis) => BigInt(size) === dims[axis]);
  if (fits) return;
  const wanted = `${dtypeName(dataType)} ${printShape(dims.map(Number))}`;
  throw new InputError(caller, `${quoted(name)} must be ${wanted}`, `${dtype} ${printShape(shape)}`);
}

/** The same message with these data in `raw_data`, whatever field they were in. */
function withData(weight: TensorProto, { data }: Tensor): TensorProto {
  const { name, dataType, dims, docString, metadataProps } = weight;
  const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
  return create(TensorProtoSchema, { name, dataType, dims, docString, metadataProps, rawData });
}
