import { generator, layers, openDevice, ops, spec, type Tensor, type Value } from "@exitkit/core-gpu";
import {
  countExitCosts,
  type ExitNetwork,
  exitNetwork,
  heads,
  programBackbone,
  toExitModel,
} from "@exitkit/early-exit";
import { applyMasks, criteria, type Masks, nextMasks, sparsityOf } from "@exitkit/prune-ee";
import { expect, test } from "vitest";
import { exitResnet } from "../../src/experiments/prune-ee/network.ts";

/**
 * The paper's network: ResNet-56 whose shortcuts are 1×1 convolutions, Shallow-Deep exits behind blocks 4 and 8 of the first stage, 3 and
 * 7 of the second, 2 and 6 of the third.
 */
function paperNetwork(): ExitNetwork {
  const random = generator(1);
  const widths = [16, 16, 32, 64] as const;
  const conv = (from: number, to: number, kernel: number) =>
    layers.initConv(random, { in: from, out: to, kernel, bias: false, initialWeight: layers.kaimingNormal() });
  const block = (from: number, to: number) => ({
    conv1: conv(from, to, 3),
    conv2: conv(to, to, 3),
    ...(from === to ? {} : { shortcut: conv(from, to, 1) }),
  });
  const params = {
    stem: conv(3, 16, 3),
    stages: [1, 2, 3].map((stage) =>
      Array.from({ length: 9 }, (_, at) => block(at === 0 ? widths[stage - 1]! : widths[stage]!, widths[stage]!)),
    ),
    linear: layers.initLinear(random, { in: 64, out: 10 }),
  };
  const places = [
    [3, 7],
    [2, 6],
    [1, 5],
  ];
  const backbone = programBackbone({
    params,
    input: spec("float32", ["n", 3, 32, 32]),
    apply: (given, x) => {
      let y = ops.relu(ops.conv(x, given.stem.weight, { padding: 1 }));
      const taps: Record<string, Value> = {};
      given.stages.forEach((stage, s) => {
        stage.forEach(({ conv1, conv2, shortcut }, at) => {
          const stride = s > 0 && at === 0 ? 2 : 1;
          const inner = ops.conv(ops.relu(ops.conv(y, conv1.weight, { padding: 1, stride })), conv2.weight, {
            padding: 1,
          });
          y = ops.relu(ops.add(inner, shortcut === undefined ? y : ops.conv(y, shortcut.weight, { stride })));
          if (places[s]!.includes(at)) taps[`stage${s + 1}-block${at + 1}`] = y;
        });
      });
      return { taps, logits: layers.linear(given.linear, ops.flatten(ops.globalAveragePool(y))) };
    },
  });
  return exitNetwork(
    backbone,
    Object.keys(backbone.taps).map((tap) => ({ name: tap, tap, head: heads.mixedPool() })),
  );
}

test("the paper's network has its linear layers at 10, 19, 29, 38, 48, 57 and 64, and 20 rounds leave .8784 zeros", async () => {
  const network = paperNetwork();
  const params = network.init(generator(2));
  const flat = layers.flattenParameters(params);
  const weights = new Map(
    Object.entries(flat).filter((entry): entry is [string, Tensor<"float32">] => entry[1].shape.length >= 2),
  );
  // In the order of the network: an exit's layer stands behind the block that it reads.
  const order = [...weights.keys()].filter((path) => !path.startsWith("exits."));
  network.exits.forEach(({ tap }, j) => {
    const [stage, block] = /^stage(\d)-block(\d)$/.exec(tap)!.slice(1).map(Number) as [number, number];
    const behind = order.findLastIndex((path) => path.startsWith(`backbone.stages.${stage - 1}.${block - 1}.`));
    order.splice(behind + 1, 0, `exits.${j}.linear.weight`);
  });
  const places = order.flatMap((path, at) => (/linear\.weight$/.test(path) ? [at + 1] : []));
  expect([order.length, places]).toEqual([64, [10, 19, 29, 38, 48, 57, 64]]);
  const sizes = order.filter((path) => /linear\.weight$/.test(path)).map((path) => weights.get(path)!.data.length);
  expect(sizes).toEqual([2560, 2560, 5120, 5120, 10240, 10240, 640]);

  const scores = await criteria.magnitude().score({ weights } as never);
  const random = generator(3);
  let masks: Masks = {};
  for (let round = 0; round < 20; round++) masks = nextMasks(scores, masks, { fraction: 0.1, random }).masks;
  const counted = sparsityOf(applyMasks(params, masks), Object.keys(masks));
  const zeros = counted.reduce((sum, layer) => sum + layer.zeros, 0);
  const size = counted.reduce((sum, layer) => sum + layer.size, 0);
  expect(zeros / size).toBeCloseTo(0.8784, 4);
}, 60_000);

test("the paper's network costs 19.3 million MACs at its first exit: the unpruned 38.6 million operations of the paper's figure", async () => {
  const network = paperNetwork();
  const device = await openDevice("cpu", { threads: 1 });
  const { exits, full } = await countExitCosts(device, toExitModel(network, network.init(generator(2))));
  await device.close();
  // By hand: 3×3 convolutions, 1×1 shortcuts, linear layers on pooled maps.
  const conv = (from: number, to: number, side: number, kernel = 3) => from * to * kernel ** 2 * side ** 2;
  const block = (width: number, side: number) => 2 * conv(width, width, side);
  const down = (from: number, to: number, side: number) =>
    conv(from, to, side) + conv(to, to, side) + conv(from, to, side, 1);
  const head = (width: number) => width * 16 * 10;
  const stem = conv(3, 16, 32);
  const one = stem + 9 * block(16, 32);
  const two = one + down(16, 32, 16) + 8 * block(32, 16);
  const three = two + down(32, 64, 8) + 8 * block(64, 8) + 640;
  const wanted = [
    stem + 4 * block(16, 32) + head(16),
    stem + 8 * block(16, 32) + 2 * head(16),
    one + down(16, 32, 16) + 2 * block(32, 16) + 2 * head(16) + head(32),
    one + down(16, 32, 16) + 6 * block(32, 16) + 2 * head(16) + 2 * head(32),
    two + down(32, 64, 8) + block(64, 8) + 2 * head(16) + 2 * head(32) + head(64),
    two + down(32, 64, 8) + 5 * block(64, 8) + 2 * head(16) + 2 * head(32) + 2 * head(64),
    three + 2 * head(16) + 2 * head(32) + 2 * head(64),
  ];
  expect([exits, full]).toEqual([wanted, three]);
  expect(2 * exits[0]!).toBeCloseTo(38.6e6, -5);
}, 60_000);

test("the pretrained network gets six exits in order, each cheaper than the next", async () => {
  const device = await openDevice("cpu", { threads: 1 });
  const network = await exitResnet(device, "resnet20");
  await device.close();
  expect(network.exits.length).toBe(6);
  expect(network.backbone.classes).toBe(10);
});
