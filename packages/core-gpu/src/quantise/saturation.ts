import { create } from "@bufbuild/protobuf";
import type { Device } from "../device/device.ts";
import type { Model } from "../onnx/model.ts";
import { ModelProtoSchema, TensorProto_DataType } from "../onnx/onnx_pb.ts";
import { tensor } from "../tensor.ts";
import { int8s, node } from "./graph-parts.ts";

/** Products summed: two pairs of the processors that saturate. */
const LENGTH = 64;
const COLUMNS = 16;

/**
 * Whether products of 8 bits are wrong on a device where they are largest: processors without VNNI (or its like) add two
 * products, up to 2 · 255 · 127 = 64,770, in 16 signed bits, which end at 32,767. Seen from the sum of 64 products 255 · 127.
 */
export async function productsSaturate(device: Device): Promise<boolean> {
  const session = await device.load(products());
  try {
    const { y } = await session.run({ x: tensor("uint8", [1, LENGTH], new Uint8Array(LENGTH).fill(255)) });
    return (y!.data as Int32Array).some((sum) => sum !== LENGTH * 255 * 127);
  } finally {
    await session.release();
  }
}

function products(): Model {
  const { UINT8, INT32 } = TensorProto_DataType;
  const value = (name: string, elemType: number, sizes: readonly number[]) => ({
    name,
    type: {
      value: {
        case: "tensorType" as const,
        value: {
          elemType,
          shape: { dim: sizes.map((size) => ({ value: { case: "dimValue" as const, value: BigInt(size) } })) },
        },
      },
    },
  });
  const proto = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 13n }],
    graph: {
      name: "products",
      node: [node("MatMulInteger", ["x", "w"], "y")],
      initializer: [int8s("w", [LENGTH, COLUMNS], new Int8Array(LENGTH * COLUMNS).fill(127))],
      input: [value("x", UINT8, [1, LENGTH])],
      output: [value("y", INT32, [1, COLUMNS])],
    },
  });
  return { proto };
}
