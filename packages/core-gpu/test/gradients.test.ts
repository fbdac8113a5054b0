import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { compileProgram, type Device, generator, InputError, openDevice, type Tensor, tensor } from "../src/index.ts";
import { distance, families, type GradientCase, gradientFeeds, gradientProgram } from "./gradients-support.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

const newest = 23;
// What we emit is what runs; the test of symbolic dimensions has the optimised graph.
const load = { optimization: "none" } as const;

/** Whether the shape rules let the case through in float64. */
function takesFloat64(test: GradientCase): boolean {
  if (test.args.includes("float32")) return false;
  try {
    gradientProgram([test], { dtype: "float64" });
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    expect(String(error)).toMatch(/dtype must be float32/);
    return false;
  }
}

describe.each(families)("%s", (_, all) => {
  it.each([
    [11, {}],
    [17, {}],
    [newest, {}],
    [17, { provider: "webgpu" }],
  ] as const)("results and gradients equal PyTorch's, opset %i %j", async (opset, runtime) => {
    const cases = all.filter((test) => (test.opset ?? 11) <= opset);
    if (cases.length === 0) return;
    const session = await compileProgram(device, gradientProgram(cases), { opset, load, ...runtime });
    const results = await session.run(gradientFeeds(cases));
    await session.release();
    cases.forEach(({ op, outputs, gradients }, number) => {
      outputs.forEach((golden, index) => {
        const far = distance(results[`outputs.${number}.${index}`]!, golden);
        expect(far, `${op}, case ${number}: result ${index}`).toBeLessThan(1e-5);
      });
      gradients.forEach((golden, index) => {
        if (golden === null) return;
        const result = results[`gradients.${number}.${index}`]!;
        expect(result.shape, `${op}, case ${number}`).toEqual(golden.shape);
        expect(distance(result, golden), `${op}, case ${number}: gradient ${index}`).toBeLessThan(2e-5);
      });
    });
  });

  it.each([{}, { provider: "webgpu" }] as const)("symbolic dimensions give the same gradients %j", async (runtime) => {
    const named = all.filter(({ symbols }) => symbols !== undefined);
    if (named.length === 0) return;
    const session = await compileProgram(device, gradientProgram(named, { symbolic: true }), {
      opset: newest,
      ...runtime,
    });
    const results = await session.run(gradientFeeds(named));
    await session.release();
    named.forEach(({ op, gradients }, number) => {
      gradients.forEach((golden, index) => {
        if (golden === null) return;
        expect(distance(results[`gradients.${number}.${index}`]!, golden), `${op}, case ${number}`).toBeLessThan(2e-5);
      });
    });
  });

  it("float64: what the shape rules accept is differentiated precisely", async () => {
    const options = { dtype: "float64" } as const;
    const cases = all.filter(takesFloat64);
    if (cases.length === 0) return;
    const session = await compileProgram(device, gradientProgram(cases, options), { opset: newest, load });
    const results = await session.run(gradientFeeds(cases, options));
    await session.release();
    cases.forEach(({ op, gradients }, number) => {
      gradients.forEach((golden, index) => {
        if (golden === null) return;
        const far = distance(results[`gradients.${number}.${index}`]!, golden);
        expect(far, `${op}, case ${number}: gradient ${index}`).toBeLessThan(1e-7);
      });
    });
  });

  // float64 where the operator takes it, because only there small errors show.
  it.each([
    ["float64", 1e-5, 1e-7],
    ["float32", 2e-3, 2e-3],
  ] as const)("gradients equal finite differences, %s", async (dtype, step, tolerance) => {
    const smooth = all.filter((test) => test.smooth !== false && takesFloat64(test) === (dtype === "float64"));
    if (smooth.length === 0) return;
    const options = { dtype };
    const session = await compileProgram(device, gradientProgram(smooth, options), { opset: newest, load });
    const feeds = gradientFeeds(smooth, options);
    const results = await session.run(feeds);
    const random = generator(7);
    for (let repeat = 0; repeat < 3; repeat++) {
      // One random direction for all tensors of a case at once: the loss's slope along it is Σ gradient · direction.
      const directions = new Map<string, Float64Array>();
      smooth.forEach(({ gradients }, number) => {
        gradients.forEach((golden, index) => {
          if (golden === null) return;
          const name = `inputs.${number}.${index}`;
          const signs = Array.from({ length: feeds[name]!.data.length }, () => (random.uniform() < 0.5 ? -1 : 1));
          directions.set(name, Float64Array.from(signs));
        });
      });
      const moved = (by: number): Record<string, Tensor> =>
        Object.fromEntries(
          Object.entries(feeds).map(([name, value]) => {
            const direction = directions.get(name);
            if (direction === undefined) return [name, value];
            return [
              name,
              tensor(
                dtype,
                value.shape,
                Array.from(value.data, Number).map((x, at) => x + by * direction[at]!),
              ),
            ];
          }),
        );
      const [ahead, behind] = [await session.run(moved(step)), await session.run(moved(-step))];
      smooth.forEach(({ op, gradients }, number) => {
        const name = `losses.${number}.0`;
        const slope = (Number(ahead[name]!.data[0]) - Number(behind[name]!.data[0])) / (2 * step);
        let along = 0;
        let scale = Math.max(1, Math.abs(Number(results[name]!.data[0])));
        gradients.forEach((golden, index) => {
          if (golden === null) return;
          const direction = directions.get(`inputs.${number}.${index}`)!;
          Array.from(results[`gradients.${number}.${index}`]!.data, Number).forEach((value, at) => {
            along += value * direction[at]!;
            scale += Math.abs(value);
          });
        });
        const message = `${op}, case ${number}: ${slope} and ${along}`;
        expect(Math.abs(slope - along) / scale, message).toBeLessThan(tolerance);
      });
    }
    await session.release();
  });
});

describe("the check against PyTorch can fail", () => {
  const golden = { dtype: "float32", shape: [3], data: [1, -2, "NaN"] } as const;
  it.each([
    [[1, -2, Number.NaN], 0],
    [[1, -2.0002, Number.NaN], 1e-4],
    [[1, 2, Number.NaN], 2],
    [[1, -2, 0], Number.POSITIVE_INFINITY],
    [[Number.NaN, -2, Number.NaN], Number.POSITIVE_INFINITY],
    [[1, -2], Number.POSITIVE_INFINITY],
  ])("%j is %d away", (data, far) => {
    expect(distance(tensor("float32", [data.length], data), golden)).toBeCloseTo(far, 6);
  });
});
