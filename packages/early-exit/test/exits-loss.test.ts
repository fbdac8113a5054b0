import {
  type Device,
  gradients,
  openDevice,
  ops,
  type Spec,
  spec,
  type Tensor,
  tensor,
  trace,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Distillation, exitsLoss, lossWeights } from "../src/index.ts";
import { evaluate } from "./exit-networks.ts";
import { expectClose, expectNumbers, golden, labels, type Packed, unpacked } from "./golden.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

/** Loss, losses and the gradient of each exit's logits. */
function run(
  logits: readonly Tensor[],
  y: Tensor,
  weights: readonly number[],
  distillation: Distillation | null,
  teacher?: Tensor,
) {
  const program = trace(
    (given) => {
      const { loss, losses } = exitsLoss(given.logits, given.y, {
        weights: given.weights,
        ...(distillation === null ? {} : { distillation }),
        ...(teacher === undefined ? {} : { teacher: ops.identity(teacher) }),
      });
      return { loss, losses, gradients: gradients(loss, given.logits) };
    },
    {
      logits: logits.map(({ dtype, shape }): Spec => ({ dtype, shape })),
      y: spec("int64", y.shape),
      weights: spec("float32", [weights.length]),
    },
  );
  const feeds = Object.fromEntries(logits.map((value, j) => [`logits.${j}`, value]));
  return evaluate(device, program, { ...feeds, y, weights: tensor("float32", [weights.length], weights) });
}

const taught = ({ teacher }: { readonly teacher?: Packed }) => (teacher === undefined ? undefined : unpacked(teacher));

describe("the loss of all exits", () => {
  it.each(golden.losses.map((one, at) => [at, one] as const))(
    "is PyTorch's, and so are its gradients (%i)",
    async (_, one) => {
      const found = await run(one.logits.map(unpacked), labels(one.y), one.weights, one.distillation, taught(one));
      expect(found.loss!.data[0]).toBeCloseTo(one.loss, 5);
      const losses = one.losses.map((_, j) => Number(found[`losses.${j}`]!.data[0]));
      expectNumbers(losses, one.losses, 5);
      for (const [j, wanted] of one.gradients.entries()) expectClose(found[`gradients.${j}`], wanted, `exit ${j}`);
    },
  );

  it("with a distillation of weight 0 is the loss without one, bit for bit", async () => {
    const [one] = golden.losses;
    const given = [one!.logits.map(unpacked), labels(one!.y), one!.weights] as const;
    const [without, weightless, weighted] = [
      await run(...given, null),
      await run(...given, { weight: 0, temperature: 4 }),
      await run(...given, { weight: 0.1, temperature: 4 }),
    ];
    expect(weightless).toEqual(without);
    expect(weighted.loss).not.toEqual(without.loss);
  });

  it("teaches early exits without changing the last one", async () => {
    const [one] = golden.losses;
    const given = [one!.logits.map(unpacked), labels(one!.y), one!.weights] as const;
    const [without, taught] = [await run(...given, null), await run(...given, { weight: 2, temperature: 2 })];
    expect(taught["gradients.2"]).toEqual(without["gradients.2"]);
    expect(taught["gradients.0"]).not.toEqual(without["gradients.0"]);
  });

  it("taught by [2, 0] at T 4 an exit of [0, 0] has a divergence of .4848 and a gradient of ∓.4898, by hand", async () => {
    const row = (...data: number[]) => tensor("float32", [1, 2], data);
    const teach = (weight: number, teacher?: Tensor) =>
      run([row(0, 0)], labels([0]), [1], { weight, temperature: 4 }, teacher);
    const [alone, taught] = [await teach(1), await teach(1, row(2, 0))];
    expect(taught.loss!.data[0] as number).toBeCloseTo((alone.loss!.data[0] as number) + 0.4848, 4);
    expect([...taught["gradients.0"]!.data].map(Number)).toEqual([
      expect.closeTo(-0.5 - 0.48984, 4),
      expect.closeTo(0.5 + 0.48984, 4),
    ]);
    expect(await teach(0, row(2, 0))).toEqual(alone);
  });

  it("refuses a teacher without distillation", async () => {
    const row = tensor("float32", [1, 2], [0, 0]);
    await expect(async () => run([row], labels([0]), [1], null, row)).rejects.toThrow(
      "early-exit.exitsLoss: a teacher needs distillation; got none.",
    );
  });

  it("refuses weights of another length, no exits, and a temperature of 0", () => {
    const build = (exits: number, weights: number, distillation?: Distillation) => () =>
      trace(
        (given) => {
          const logits = Array.from({ length: exits }, () => given.logits);
          const options = { weights: given.weights, ...(distillation === undefined ? {} : { distillation }) };
          return { loss: exitsLoss(logits, given.y, options).loss };
        },
        { logits: spec("float32", [2, 3]), y: spec("int64", [2]), weights: spec("float32", [weights]) },
      );
    expect(build(2, 2)).not.toThrow();
    expect(build(2, 3)).toThrow("early-exit.exitsLoss: weights must be [2], one for each exit; got [3].");
    expect(build(0, 1)).toThrow("early-exit.exitsLoss: logits of at least one exit are needed; got none.");
    expect(build(2, 2, { weight: 1, temperature: 0 })).toThrow(/option "distillation\.temperature"/);
    expect(build(2, 2, { weight: Number.NaN, temperature: 1 })).toThrow(/option "distillation\.weight"/);
  });
});

describe("weights of the loss", () => {
  const at = (epoch: number, epochs: number) => ({ epoch, epochs, progress: epoch / epochs });

  it("grow as in Shallow-Deep Networks' training", () => {
    const targets = [0.15, 0.3, 0.45, 0.6, 0.75, 0.9];
    const weights = lossWeights.ramp({ targets });
    // 0.01 + epoch·(C ÷ epochs), at most C, epochs from 1, the authors' formula by hand: what is reached when an epoch ends.
    targets.forEach((target, j) => {
      expect(weights(at(0, 100))[j]).toBe(0.01);
      expect(weights(at(1, 100))[j]).toBeCloseTo(0.01 + target / 100, 12);
      expect(weights(at(50, 100))[j]).toBeCloseTo(0.01 + target / 2, 12);
      expect(weights(at(100, 100))[j]).toBe(target);
      // Within an epoch too.
      expect(weights({ epoch: 0, epochs: 1, progress: 0.5 })[j]).toBeCloseTo(0.01 + target / 2, 12);
    });
    expect(weights(at(3, 100)).at(-1)).toBe(1);
    expect(lossWeights.ramp({ targets: [0.5], start: 0, epochs: 50 })(at(25, 300))).toEqual([0.25, 1]);
    expect(lossWeights.ramp({ targets: [0.5], start: 0, epochs: 50 })(at(200, 300))).toEqual([0.5, 1]);
  });

  it("are the exits' shares of the cost", () => {
    const weights = lossWeights.relativeCost({ exits: [20, 50, 110], full: 100 });
    expect(weights(at(0, 1))).toEqual([0.2, 0.5, 1]);
  });

  it("refuse what is no weight", () => {
    expect(() => lossWeights.constant([1, Number.NaN])).toThrow(
      "early-exit.lossWeights.constant: the loss needs 2 finite weights ≥ 0, one for each exit, the last included, and not all 0; got [1, NaN].",
    );
    expect(() => lossWeights.constant([0, 0])).toThrow("not all 0; got [0, 0].");
    expect(() => lossWeights.constant([])).toThrow("got [].");
    expect(() => lossWeights.ramp({ targets: [-1] })).toThrow(/option "targets\.0"/);
  });
});
