import { afterAll, beforeAll, expect, it } from "vitest";
import { channelBlocks } from "../src/device/blocks.ts";
import {
  compileProgram,
  type Device,
  generator,
  gradients,
  openDevice,
  ops,
  programToModel,
  spec,
  type Tensor,
  tensor,
  trace,
} from "../src/index.ts";
import { distance } from "./gradients-support.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

/** A small network with its gradients in which every convolution and batch norm has whole blocks of channels. */
const program = trace(
  ({ x, weights, scale, bias }) => {
    const first = ops.conv(x, weights.first, { padding: 1, bias });
    const normal = ops.batchNormTraining(first, scale, bias);
    const deep = ops.conv(ops.relu(normal.y), weights.depthwise, { padding: 1, groups: 32 });
    const strided = ops.conv(deep, weights.strided, { stride: 2, padding: [0, 1] });
    const point = ops.conv(strided, weights.point);
    const loss = ops.mean(ops.square(point));
    const { y: _, ...statistics } = normal;
    return { loss, point, statistics, gradients: gradients(loss, { x, weights, scale, bias }) };
  },
  {
    x: spec("float32", ["n", 16, 6, 7]),
    weights: {
      first: spec("float32", [32, 16, 3, 3]),
      depthwise: spec("float32", [32, 1, 3, 3]),
      strided: spec("float32", [16, 32, 3, 3]),
      point: spec("float32", [16, 16, 1, 1]),
    },
    scale: spec("float32", [32]),
    bias: spec("float32", [32]),
  },
);

function feeds(): Record<string, Tensor> {
  const random = generator(5);
  return Object.fromEntries(
    program.inputs.map(({ name, spec: { shape } }) => {
      const sizes = shape.map((size) => (typeof size === "number" ? size : 3));
      const value = tensor("float32", sizes);
      // Far from 0, where a variance by the mean of squares would be off.
      const offset = name === "x" ? 30 : 0;
      for (let at = 0; at < value.data.length; at++) value.data[at] = offset + random.uniform() * 2 - 1;
      return [name, value];
    }),
  );
}

it("the CPU's blocks of channels are found", async () => {
  // x64 and ARM builds have them; where one has not, the tests below would compare a model with itself.
  expect([8, 16]).toContain(await channelBlocks());
});

it("convolutions on blocks of channels give what the standard's do, gradients too", async () => {
  const blocks = (await channelBlocks())!;
  const own = programToModel(program, { blocks });
  const domains = own.proto.graph!.node.map(({ domain, opType }) => `${domain} ${opType}`);
  // Three forward, two of the gradients: the strided one's is a transposed convolution, the 1 × 1 ones stay as they are.
  expect(domains.filter((name) => name === "com.microsoft.nchwc Conv")).toHaveLength(5);
  const standard = await compileProgram(device, program);
  const fast = await device.load(own);
  const wanted = await standard.run(feeds());
  const given = feeds();
  for (let run = 0; run < 2; run++) {
    const got = await fast.run(given);
    for (const [name, value] of Object.entries(wanted)) {
      const golden = { ...value, data: Array.from(value.data, Number) };
      expect(distance(got[name]!, golden), `${name}, run ${run}`).toBeLessThan(2e-5);
    }
  }
  // Batch normalisation's training mode writes over the running statistics it is given.
  for (const [name, value] of Object.entries(feeds())) expect(given[name]!.data, name).toEqual(value.data);
});

it("a model for one CPU is made only where that is asked for", async () => {
  expect(programToModel(program).proto.opsetImport.map(({ domain }) => domain)).toEqual([""]);
  const weights = Object.fromEntries(Object.entries(feeds()).filter(([name]) => name.startsWith("weights.")));
  const known = programToModel(program, { blocks: (await channelBlocks())!, constants: weights });
  // The runtime lays out constant weights itself, better.
  expect(known.proto.opsetImport.map(({ domain }) => domain)).toEqual([""]);
});
