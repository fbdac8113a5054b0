import {
  type Device,
  generator,
  gradients,
  layers,
  openDevice,
  ops,
  type Spec,
  spec,
  type Tensor,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "@exitkit/core-gpu";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { heads } from "../src/index.ts";
import { evaluate } from "./exit-networks.ts";
import { expectClose, golden, labels, nested, unpacked } from "./golden.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu", { threads: 1 });
});
afterAll(() => device.close());

function headOf({ kind, options: { channels, grid } }: (typeof golden.heads)[number]): heads.Head {
  if (kind === "linear") return heads.linear();
  return kind === "conv" ? heads.conv({ channels: channels! }) : heads.mixedPool(grid === undefined ? {} : { grid });
}

describe("heads, as PyTorch computes them", () => {
  it.each(golden.heads.map((one, at) => [`${at}: ${one.kind} of [${one.shape.join(", ")}]`, one] as const))(
    "%s",
    async (_, one) => {
      const head = headOf(one);
      const params = nested(one.params);
      const first = layers.flattenParameters(head.init(generator(1), one.shape, 4));
      const shapes = (flat: Record<string, Tensor>) =>
        Object.fromEntries(Object.entries(flat).map(([path, { shape }]) => [path, shape.join()]));
      expect(shapes(first)).toEqual(shapes(layers.flattenParameters(params)));
      const program = trace(
        (given) => {
          const values = given.params as TreeRecord<Value>;
          const { logits, updated } = head.apply(values, given.x, true);
          const trained = layers.flattenParameters(layers.trainable<object>(values) as TreeRecord<Value>);
          const loss = ops.crossEntropy(logits, given.y);
          return {
            logits,
            inference: head.apply(values, given.x, false).logits,
            ...gradients(loss, { ofX: given.x, of: trained }),
            updated,
          };
        },
        {
          params: layers.specsOf<TreeRecord<Spec>>(params),
          x: spec("float32", [5, ...one.shape]),
          y: spec("int64", [5]),
        },
      );
      const feeds = { ...layers.flattenParameters({ params }), x: unpacked(one.x), y: labels(one.y) };
      const found = await evaluate(device, program, feeds);
      expectClose(found.logits, one.logits, "logits in training");
      expectClose(found.inference, one.inference, "logits");
      expectClose(found.ofX, one.ofX, "gradient of the features");
      for (const [path, wanted] of Object.entries(one.gradients)) expectClose(found[`of.${path}`], wanted, path);
      for (const [path, wanted] of Object.entries(one.statistics)) expectClose(found[`updated.${path}`], wanted, path);
      const known = [...Object.keys(one.gradients).map((path) => `of.${path}`), "logits", "inference", "ofX"];
      const statistics = Object.keys(one.statistics).map((path) => `updated.${path}`);
      expect(Object.keys(found).sort()).toEqual([...known, ...statistics].sort());
    },
  );
});

describe("further inputs of a head", () => {
  const extra = { size: 2, of: (x: Value) => ops.mul(ops.slice(ops.flatten(x), { axis: 1, from: 0, to: 2 }), 3) };

  it.each([
    ["linear", heads.linear({ extra }), 4],
    ["mixedPool", heads.mixedPool({ extra }), 3 * 16],
    ["conv", heads.conv({ channels: 6, extra }), 6],
  ] as const)(
    "enter the linear layer of %s behind the others, and no gradient leaves through them",
    async (name, head, d) => {
      const shape = name === "linear" ? [4] : [3, 4, 4];
      const params = head.init(generator(2), shape, 5);
      const layer = (name === "linear" ? params : params.linear) as unknown as layers.LinearParameters;
      expect(layer.weight.shape).toEqual([5, d + 2]);
      // Only the extra inputs' weights stay: the logits are then 3·W·(the first two features) + b.
      const weight = tensor("float32", [5, d + 2], (layer.weight.data as Float32Array).slice());
      for (let row = 0; row < 5; row++) weight.data.fill(0, row * (d + 2), row * (d + 2) + d);
      const chosen = { ...layer, weight };
      const whole = name === "linear" ? chosen : { ...params, linear: chosen };
      const program = trace(
        (given) => {
          const { logits } = head.apply(given.params as TreeRecord<Value>, given.x, false);
          return { logits, ofX: gradients(ops.sum(logits), given.x) };
        },
        { params: layers.specsOf<TreeRecord<Spec>>(whole), x: spec("float32", [1, ...shape]) },
      );
      const x = tensor("float32", [1, ...shape]);
      x.data.set([0.5, -2]);
      const found = await evaluate(device, program, { ...layers.flattenParameters({ params: whole }), x });
      for (let row = 0; row < 5; row++) {
        const [first, second] = [weight.data[row * (d + 2) + d]!, weight.data[row * (d + 2) + d + 1]!];
        const wanted = 3 * (0.5 * Number(first) - 2 * Number(second)) + Number(layer.bias!.data[row]);
        expect(Number(found.logits!.data[row])).toBeCloseTo(wanted, 5);
      }
      expect([...(found.ofX!.data as Float32Array)].every((value) => value === 0)).toBe(true);
    },
  );

  it("must be [n, size]", () => {
    const head = heads.linear({ extra: { size: 3, of: extra.of } });
    const params = layers.specsOf<TreeRecord<Spec>>(head.init(generator(1), [4], 2));
    const tracing = () =>
      trace(({ params, x }) => ({ y: head.apply(params as TreeRecord<Value>, x, false).logits }), {
        params,
        x: spec("float32", ["n", 4]),
      });
    expect(tracing).toThrow("early-exit.heads.linear: extra.of must give [n, 3], as extra.size says; got [n, 2].");
  });
});

describe("heads refuse", () => {
  const random = generator(1);
  it("features they cannot read", () => {
    expect(() => heads.linear().init(random, [3, 4], 2)).toThrow(
      "early-exit.heads.linear: features of one sample must be [d] or [c, h, w]; got [3, 4].",
    );
    expect(() => heads.mixedPool().init(random, [8], 2)).toThrow("must be [c, h, w]; got [8].");
    expect(() => heads.conv({ channels: 2 }).init(random, [8], 2)).toThrow("must be [c, h, w]; got [8].");
  });

  it("options that are unknown or out of range", () => {
    expect(() => heads.mixedPool({ grid: 0 })).toThrow(/early-exit\.heads\.mixedPool: .*option "grid"/);
    expect(() => heads.conv({ channels: 2, kernel: 5 } as { channels: number })).toThrow(/unknown option "kernel"/);
    expect(() => heads.linear({ extra: { size: 0, of: (x: Value) => x } })).toThrow(/option "extra\.size"/);
  });
});
