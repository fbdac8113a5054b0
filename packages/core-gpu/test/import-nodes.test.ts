import { readFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { compileProgram, importModel, openDevice, readModel, type Tensor, trace } from "../src/index.ts";
import { type Packed, unpack } from "./program-support.ts";

interface Case {
  readonly name: string;
  readonly operator: string;
  /** The model, base64. */
  readonly model: string;
  readonly inputs: Readonly<Record<string, Packed>>;
  readonly outputs: Readonly<Record<string, Packed>>;
}

const { cases } = JSON.parse(readFileSync(new URL("../fixtures/import/nodes.json", import.meta.url), "utf8")) as {
  readonly cases: readonly Case[];
};

const device = await openDevice("cpu");
afterAll(() => device.close());

/** Largest difference, relative to the larger of 1 and the golden element; infinite where dtype or shape differ. */
function distance(actual: Tensor, wanted: Packed): number {
  if (actual.dtype !== wanted.dtype || actual.shape.join() !== wanted.shape.join()) return Number.POSITIVE_INFINITY;
  const differences = Array.from(actual.data, Number).map((value, at) => {
    const golden = Number(wanted.data[at]);
    if (Object.is(value, golden) || value === golden) return 0;
    const difference = Math.abs(value - golden) / Math.max(1, Math.abs(golden));
    return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  });
  return Math.max(0, ...differences);
}

it("reads operators as the standard's own tests want", async () => {
  expect(new Set(cases.map(({ operator }) => operator)).size).toBeGreaterThan(85);
  for (const { name, model, inputs, outputs } of cases) {
    const read = readModel(new Uint8Array(Buffer.from(model, "base64")));
    const network = importModel(read, { constants: read.proto.graph!.initializer.map((weight) => weight.name) });
    expect(network.opaque, name).toEqual([]);
    const program = trace((given) => network.apply({}, given), network.inputs);
    const session = await compileProgram(device, program, { opset: network.opset });
    const results = await session.run(
      Object.fromEntries(Object.entries(inputs).map(([input, packed]) => [input, unpack(packed)])),
    );
    await session.release();
    for (const [output, wanted] of Object.entries(outputs)) {
      expect(distance(results[output]!, wanted), `${name}: ${output}`).toBeLessThan(1e-4);
    }
  }
});
