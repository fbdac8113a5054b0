import { readFile } from "node:fs/promises";
import {
  compileProgram,
  type Device,
  generator,
  gradients,
  layers,
  openDevice,
  ops,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { initAutoencoder } from "../src/zoo/autoencoder.ts";
import { assignmentScores, idecLoss, targetDistribution } from "../src/zoo/idec.ts";
import { noise } from "./noise.ts";

interface Golden {
  readonly assignments: Readonly<Record<"q" | "p" | "codesGradient" | "centresGradient", readonly number[]>> & {
    readonly kl: number;
  };
  readonly loss: {
    readonly p: readonly number[];
    readonly reconstruction: number;
    readonly clustering: number;
    readonly gradients: Readonly<Record<string, readonly number[]>>;
  };
}

// The same sizes and formulas as in fixtures/clustering.py.
const [N, D, K] = [12, 3, 4];
const SIZES = [12, 8, 7, 9, 3];
const GAMMA = 0.1;

let golden: Golden;
let device: Device;
beforeAll(async () => {
  golden = JSON.parse(await readFile(new URL("../fixtures/clustering.json", import.meta.url), "utf8"));
  device = await openDevice("cpu");
});
afterAll(() => device.close());

function made(shape: readonly number[], salt: number, scale = 1): Tensor<"float32"> {
  const size = shape.reduce((product, one) => product * one, 1);
  return tensor(
    "float32",
    shape,
    noise(size, salt).map((value) => Math.fround(value * scale)),
  );
}

/** Largest difference, as a fraction of the largest expected number. */
function difference(actual: ArrayLike<number>, expected: readonly number[]): number {
  expect(actual.length).toBe(expected.length);
  const scale = Math.max(...expected.map(Math.abs));
  return Math.max(...expected.map((value, at) => Math.abs(value - actual[at]!))) / scale;
}

describe("soft assignments", () => {
  it("are Student's t, with PyTorch's divergence and gradients", async () => {
    const program = trace(
      ({ codes, centres, target }) => {
        const log = ops.logSoftmax(assignmentScores(codes, centres));
        const kl = ops.klDivergence(log, target);
        return { q: ops.exp(log), kl, ...gradients(kl, { codesGradient: codes, centresGradient: centres }) };
      },
      { codes: spec("float32", [N, D]), centres: spec("float32", [K, D]), target: spec("float32", [N, K]) },
    );
    const runner = await compileProgram(device, program);
    const { q, p, kl, codesGradient, centresGradient } = golden.assignments;
    const inputs = { codes: made([N, D], 1, 2), centres: made([K, D], 2, 2) };
    const found = await runner.run({ ...inputs, target: tensor("float32", [N, K], p) });
    expect(difference(found.q!.data as Float32Array, q)).toBeLessThan(1e-6);
    expect(Number(found.kl!.data[0])).toBeCloseTo(kl, 6);
    expect(difference(found.codesGradient!.data as Float32Array, codesGradient)).toBeLessThan(1e-5);
    expect(difference(found.centresGradient!.data as Float32Array, centresGradient)).toBeLessThan(1e-5);
    await runner.release();
  });

  it("are finite and sum to 1 where a code lies on its centre and where all are far away", async () => {
    const program = trace(({ codes, centres }) => ({ q: ops.softmax(assignmentScores(codes, centres)) }), {
      codes: spec("float32", ["n", 2]),
      centres: spec("float32", [2, 2]),
    });
    const runner = await compileProgram(device, program);
    const centres = tensor("float32", [2, 2], [0, 0, 3, 0]);
    const { q } = await runner.run({ codes: tensor("float32", [2, 2], [0, 0, 1e9, 0]), centres });
    expect([...(q!.data as Float32Array)].map((value) => Number(value.toFixed(6)))).toEqual([
      0.909091, 0.090909, 0.5, 0.5,
    ]);
    await runner.release();
  });
});

describe("targetDistribution", () => {
  it("is PyTorch's", () => {
    const { q, p } = golden.assignments;
    expect(difference(targetDistribution(Float32Array.from(q), K), p)).toBeLessThan(1e-6);
  });

  it("gives rows that sum to 1, and does not care about the order of samples or clusters", () => {
    const rows = fc.array(fc.array(fc.double({ min: 0.01, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 }), {
      minLength: 1,
      maxLength: 20,
    });
    fc.assert(
      fc.property(rows, (raw) => {
        const q = raw.map((row) => row.map((value) => value / row.reduce((sum, one) => sum + one, 0)));
        const p = targetDistribution(Float32Array.from(q.flat()), 3);
        for (let row = 0; row < q.length; row++) {
          expect(p[3 * row]! + p[3 * row + 1]! + p[3 * row + 2]!).toBeCloseTo(1, 5);
        }
        const turned = targetDistribution(Float32Array.from(q.toReversed().flatMap((row) => row.toReversed())), 3);
        expect(difference(turned, [...p].reverse())).toBeLessThan(1e-5);
      }),
    );
  });

  it("sharpens: equally large clusters and q = (0.8, 0.2) give 0.64 to 0.04", () => {
    const p = targetDistribution(Float32Array.of(0.8, 0.2, 0.2, 0.8), 2);
    expect(p[0]).toBeCloseTo(0.64 / 0.68, 6);
  });

  it("gives an empty cluster nothing, and refuses half rows", () => {
    expect([...targetDistribution(Float32Array.of(1, 0, 1, 0), 2)]).toEqual([1, 0, 1, 0]);
    expect(() => targetDistribution(new Float32Array(3), 2)).toThrow("rows of 2; got 3 numbers");
    expect(() => targetDistribution(new Float32Array(0), 2)).toThrow("got 0 numbers");
  });
});

describe("idecLoss", () => {
  it("has PyTorch's two parts and the gradient of every parameter", async () => {
    const like = { ...initAutoencoder(generator(1), SIZES), centres: tensor("float32", [K, SIZES.at(-1)!]) };
    const flat = layers.flattenParameters(like);
    const { loss } = golden;
    // The salts of clustering.py follow the order of PyTorch's names there: encoder, decoder, centres.
    const names = Object.keys(loss.gradients);
    expect(Object.keys(flat).sort()).toEqual([...names].sort());
    names.forEach((name, salt) => {
      flat[name] = made(flat[name]!.shape, 10 + salt, 0.6);
    });
    const params = layers.unflattenParameters(flat, like);
    const program = trace(
      ({ params, x, target }) => {
        const losses = idecLoss(params, x, target, GAMMA);
        return { ...losses, gradients: gradients(losses.loss, params) };
      },
      {
        params: layers.specsOf(params),
        x: spec("float32", [N, SIZES[0]!]),
        target: spec("float32", [N, K]),
      },
    );
    const runner = await compileProgram(device, program);
    const inputs = layers.flattenParameters({ params });
    const found = await runner.run({
      ...inputs,
      x: made([N, SIZES[0]!], 3),
      target: tensor("float32", [N, K], loss.p),
    });
    expect(Number(found.reconstruction!.data[0])).toBeCloseTo(loss.reconstruction, 6);
    expect(Number(found.clustering!.data[0])).toBeCloseTo(loss.clustering, 6);
    expect(Number(found.loss!.data[0])).toBeCloseTo(loss.reconstruction + GAMMA * loss.clustering, 6);
    for (const name of names) {
      expect(difference(found[`gradients.${name}`]!.data as Float32Array, loss.gradients[name]!), name).toBeLessThan(
        1e-4,
      );
    }
    await runner.release();
  });
});
