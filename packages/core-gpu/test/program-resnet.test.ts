import { expect, it } from "vitest";
import {
  compileProgram,
  foldBatchNorm,
  openDevice,
  ops,
  type Spec,
  spec,
  type Tensor,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";
import { fixture, hashed, numbersOf } from "./program-support.ts";

const golden = fixture.resnet20;
const weights: Record<string, Tensor<"float32">> = Object.fromEntries(
  golden.weights.map((entry) => [entry.name, hashed(entry)]),
);
const images = hashed(golden.images);

type Weights = Readonly<Record<string, Value | Tensor>>;

/** ResNet-20 for 32 × 32 images: a stem, three groups of three blocks, a mean over the image and a linear layer. */
function resnet20(
  parameters: Weights,
  x: Value,
  norm: (p: Weights, conv: string, bn: string, x: Value, stride: number) => Value,
) {
  let y = ops.relu(norm(parameters, "conv1", "bn1", x, 1));
  for (let block = 0; block < 9; block++) {
    const name = `blocks.${block}`;
    const stride = block === 3 || block === 6 ? 2 : 1;
    const inner = ops.relu(norm(parameters, `${name}.conv1`, `${name}.bn1`, y, stride));
    const outer = norm(parameters, `${name}.conv2`, `${name}.bn2`, inner, 1);
    y = ops.relu(ops.add(outer, stride === 1 ? y : shortcut(y)));
  }
  const features = ops.flatten(ops.globalAveragePool(y));
  return { logits: ops.linear(features, parameters["linear.weight"]!, parameters["linear.bias"]), features };
}

/** Every second pixel, and zeros for the channels that are new. */
function shortcut(x: Value): Value {
  const added = Number(x.shape[1]) / 2;
  const half = ops.slice(
    x,
    [2, 3].map((axis) => ({ axis, step: 2 })),
  );
  return ops.pad(half, [
    [0, 0],
    [added, added],
    [0, 0],
    [0, 0],
  ]);
}

function normalised(p: Weights, conv: string, bn: string, x: Value, stride: number): Value {
  const y = ops.conv(x, p[`${conv}.weight`]!, { stride, padding: 1 });
  return ops.batchNorm(y, p[`${bn}.weight`]!, p[`${bn}.bias`]!, p[`${bn}.running_mean`]!, p[`${bn}.running_var`]!);
}

function folded(p: Weights, conv: string, bn: string, x: Value, stride: number): Value {
  const of = (name: string) => p[name] as Tensor<"float32">;
  const { weight, bias } = foldBatchNorm(
    { weight: of(`${conv}.weight`) },
    {
      scale: of(`${bn}.weight`),
      bias: of(`${bn}.bias`),
      mean: of(`${bn}.running_mean`),
      variance: of(`${bn}.running_var`),
    },
  );
  return ops.conv(x, weight, { bias, stride, padding: 1 });
}

const image = spec("float32", ["n", 3, 32, 32]);

async function expectGolden(program: Parameters<typeof compileProgram>[1], constants?: Record<string, Tensor>) {
  const device = await openDevice("cpu");
  try {
    const session = await compileProgram(device, program, constants === undefined ? {} : { constants });
    const whole = await session.run({ x: images });
    for (const name of ["logits", "features"] as const) {
      const wanted = numbersOf(golden[name]);
      const scale = Math.max(...wanted.map(Math.abs));
      expect(whole[name]!.shape).toEqual(golden[name].shape);
      const error = Math.max(...wanted.map((value, at) => Math.abs(Number(whole[name]!.data[at]) - value)));
      expect(error / scale, name).toBeLessThan(5e-6);
    }
    // The batch dimension is a symbol: one image alone works too.
    const first = await session.run({ x: tensor("float32", [1, 3, 32, 32], images.data.subarray(0, 3072)) });
    expect(first.logits!.shape).toEqual([1, 10]);
    expect(Math.abs(Number(first.logits!.data[0]) - numbersOf(golden.logits)[0]!)).toBeLessThan(1e-3);
  } finally {
    await device.close();
  }
}

it("ResNet-20 with its weights as inputs gives PyTorch's logits", async () => {
  const specs: Record<string, Spec> = Object.fromEntries(
    Object.entries(weights).map(([name, { dtype, shape }]) => [name, spec(dtype, shape)]),
  );
  const program = trace(({ x, parameters }) => resnet20(parameters, x, normalised), { x: image, parameters: specs });
  const constants = Object.fromEntries(Object.entries(weights).map(([name, value]) => [`parameters.${name}`, value]));
  await expectGolden(program, constants);
});

it("ResNet-20 with its batch norms folded away gives PyTorch's logits", async () => {
  const program = trace(({ x }) => resnet20(weights, x, folded), { x: image });
  expect(program.nodes.map(({ operator }) => operator.name)).not.toContain("batchNorm");
  expect(program.nodes.filter(({ operator }) => operator.name === "conv")).toHaveLength(19);
  await expectGolden(program);
});
