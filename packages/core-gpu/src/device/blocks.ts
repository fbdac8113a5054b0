import { create } from "@bufbuild/protobuf";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { writeModel } from "../onnx/model.ts";
import { ModelProtoSchema } from "../onnx/onnx_pb.ts";
import { onnxGraph, valueInfo } from "../program/onnx-graph.ts";

let known: Promise<8 | 16 | undefined> | undefined;

/**
 * How many channels ONNX Runtime's own convolutions keep in a block on this CPU (16 with AVX-512, else mostly 8), seen from
 * where numbers lie after it has changed their layout; undefined where it has no such convolutions. Found once per process.
 */
export function channelBlocks(): Promise<8 | 16 | undefined> {
  known ??= find();
  return known;
}

const channels = 16;
const pixels = 2;

async function find(): Promise<8 | 16 | undefined> {
  const graph = onnxGraph(17, []);
  graph.node("ReorderInput", ["x"], {}, ["y"], "com.microsoft.nchwc");
  const spec = { dtype: "float32", shape: [1, channels, 1, pixels] } as const;
  const proto = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }, ...graph.imports],
    graph: { name: "blocks", node: [...graph.nodes], input: [valueInfo("x", spec)], output: [valueInfo("y", spec)] },
  });
  const numbers = Float32Array.from({ length: channels * pixels }, (_, at) => at);
  try {
    const session = await InferenceSession.create(writeModel({ proto }), {
      executionProviders: ["cpu"],
      intraOpNumThreads: 1,
      logSeverityLevel: 4,
    });
    const { y } = await session.run({ x: new Tensor("float32", numbers, spec.shape) });
    await session.release();
    const seen = (y!.data as Float32Array).join();
    return ([8, 16] as const).find((block) => blocked(block).join() === seen);
  } catch {
    // Not a build with these operators: the standard ones do.
    return undefined;
  }
}

/** Channel c, pixel p is the number 2c + p; in blocks the order is block, pixel, channel of the block. */
function blocked(block: number): readonly number[] {
  return Array.from({ length: channels * pixels }, (_, at) => {
    const pixel = Math.floor(at / block) % pixels;
    const channel = Math.floor(at / (block * pixels)) * block + (at % block);
    return channel * pixels + pixel;
  });
}
