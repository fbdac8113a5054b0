// What importBackbone takes as logits of networks that end in a Softmax or a sigmoid (core-gpu/fixtures/odd).
import { readFileSync } from "node:fs";
import { compileProgram, type Device, openDevice, readModel, tensor, trace } from "@exitkit/core-gpu";
import { afterAll, beforeAll, expect, it } from "vitest";
import { importBackbone } from "../src/index.ts";

const folder = new URL("../../core-gpu/fixtures/odd/", import.meta.url);
const odd = (name: string) => readModel(readFileSync(new URL(`${name}.onnx`, folder)));
const facts = JSON.parse(readFileSync(new URL("facts.json", folder), "utf8")) as {
  readonly x: readonly number[];
  readonly outputs: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
};

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

async function logitsOf(name: string, output?: string): Promise<number[]> {
  const backbone = importBackbone(odd(name), { taps: ["r1"], ...(output === undefined ? {} : { output }) });
  const program = trace(({ x, params }) => ({ logits: backbone.apply(params, x, false).logits }), {
    x: backbone.input,
    params: backbone.params,
  });
  const session = await compileProgram(device, program, { constants: { params: backbone.params } });
  const { logits } = await session.run({ x: tensor("float32", [6, 3, 8, 8], facts.x) });
  await session.release();
  return Array.from(logits!.data, Number);
}

it.each(["softmax", "reshaped"])("%s gives the logits of plain", async (name) => {
  const found = await logitsOf(name);
  for (const [at, value] of facts.outputs.plain!.logits!.entries()) expect(found[at]).toBeCloseTo(value, 4);
});

it("one sigmoid is two classes, and of two outputs the one named is taken", async () => {
  const found = await logitsOf("sigmoid1");
  for (const [row, p] of facts.outputs.sigmoid1!.p!.entries()) {
    expect(found[2 * row]).toBe(0);
    expect(1 / (1 + Math.exp(-found[2 * row + 1]!))).toBeCloseTo(p, 5);
  }
  await expect(logitsOf("auxfirst")).rejects.toThrow('the model must have one output; got "aux", "logits".');
  expect(await logitsOf("auxfirst", "logits")).toHaveLength(24);
});
