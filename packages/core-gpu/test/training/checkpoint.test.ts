import { createHash } from "node:crypto";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type Device,
  generator,
  layers,
  openDevice,
  ops,
  optimisers,
  spec,
  tensor,
  trace,
  training,
} from "../../src/index.ts";
import { compileTiny, jitter, points } from "./tiny.ts";

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** A run of 3 epochs of 5 steps; gives all that must not depend on interruptions. */
async function run(more: Partial<training.TrainOptions> = {}) {
  const runner = await compileTiny(device);
  let collected: training.Collected | null = null;
  const result = await training.train({
    runner,
    data: points(jitter),
    batchSize: 5,
    epochs: 3,
    generator: generator(4),
    learningRate: (update) => 0.02 / (1 + update),
    collect: ["losses"],
    checkpoint: { folder },
    onEpoch: (event) => {
      collected = event.collected;
    },
    ...more,
  });
  const { checkpoint, ...outcome } = result;
  return { checkpoint, outcome, state: await runner.readState(), collected: collected as training.Collected | null };
}

test("a run stopped after any step goes on to the same bits", { timeout: 30_000 }, async () => {
  const whole = await run();
  // Within an epoch, at its end, at the next one's start, at the very end.
  for (const steps of [1, 3, 5, 6, 10, 14, 15]) {
    const folder = await mkdtemp(join(tmpdir(), "checkpoint-"));
    const stop = ({ step }: training.StepEvent) => (step === steps - 1 ? "stop" : undefined);
    const first = await run({ checkpoint: { folder }, onStep: stop });
    expect(first.outcome).toMatchObject({ stopped: "callback", steps });
    // The seed of the second start must not matter.
    const resumed = await run({ checkpoint: { folder }, resume: true, generator: generator(99) });
    expect(resumed.outcome).toEqual(whole.outcome);
    expect(resumed.state).toEqual(whole.state);
    expect(resumed.collected).toEqual(whole.collected);
    await rm(folder, { recursive: true });
  }
});

test("a finished run can be made longer, or asked again", async () => {
  const whole = await run();
  const again = await run({ resume: true });
  expect(again).toMatchObject({ outcome: whole.outcome, state: whole.state, checkpoint: whole.checkpoint });
  const longer = await run({ resume: true, epochs: 4 });
  await rm(folder, { recursive: true });
  const atOnce = await run({ epochs: 4 });
  expect(longer.state).toEqual(atOnce.state);
  expect(longer.outcome).toEqual(atOnce.outcome);
});

test("an early stop stands, with its best state", async () => {
  const earlyStop = { metric: "loss", direction: "max", patience: 1 } as const;
  const whole = await run({ earlyStop, epochs: 30 });
  expect(whole.outcome.stopped).toBe("earlyStop");
  const again = await run({ earlyStop, epochs: 30, resume: true });
  expect(again).toMatchObject({ outcome: whole.outcome, state: whole.state });
});

test("checkpoints come when asked for, the newest stay, and leftovers of a killed run go", async () => {
  await mkdir(join(folder, ".new-step-0000000003.00ff00ff00ff"));
  await writeFile(join(folder, "notes.txt"), "mine");
  const written: string[][] = [];
  const { checkpoint } = await run({
    checkpoint: { folder, everySteps: 2, everyEpochs: 2, keep: 3 },
    onStep: async () => void written.push((await readdir(folder)).filter((name) => name !== ".owner.json").toSorted()),
  });
  expect(written[4]).toEqual(["notes.txt", "step-0000000002", "step-0000000004"]);
  expect(await training.listCheckpoints(folder)).toEqual(
    [12, 14, 15].map((step) => join(folder, `step-00000000${step}`)),
  );
  expect(checkpoint).toBe(join(folder, "step-0000000015"));
  expect(await readdir(folder)).toContain("notes.txt");
});

test("a checkpoint holds the state by the program's names", async () => {
  const { checkpoint, state } = await run();
  const { step, tensors } = await training.readCheckpoint(checkpoint!);
  expect(step).toBe(15);
  expect(tensors.state).toEqual(state);
  const params = { params: { first: layers.initLinear(generator(1), { in: 4, out: 6 }) } };
  const first = Object.fromEntries(Object.entries(tensors.state!).filter(([name]) => name.startsWith("params.first.")));
  expect(layers.unflattenParameters(first, params)).toEqual({
    params: { first: { weight: state["params.first.weight"], bias: state["params.first.bias"] } },
  });
});

describe("refused:", () => {
  const newest = async () => (await training.listCheckpoints(folder)).at(-1)!;

  test("a new run in the folder of an old one, and resuming without a folder", async () => {
    const { checkpoint } = await run({ epochs: 1 });
    await expect(run()).rejects.toThrow(
      `core-gpu.training.train: the folder of a new run must hold no checkpoints; got ${checkpoint}. Pass resume: true to go on from it, or another folder.`,
    );
    const runner = await compileTiny(device);
    const options = { runner, data: points(), batchSize: 5, epochs: 1, generator: generator(1), learningRate: 1 };
    await expect(training.train({ ...options, resume: true })).rejects.toThrow(
      "resume needs a checkpoint folder; got none.",
    );
  });

  test("a run of other data, batches or outputs", async () => {
    await run({ onStep: ({ step }) => (step === 1 ? "stop" : undefined) });
    await expect(run({ resume: true, batchSize: 4, shuffle: false })).rejects.toThrow(
      "must have its data and batches; got batchSize 4 instead of 5, shuffle false instead of true.",
    );
    await expect(run({ resume: true, collect: ["logits"] })).rejects.toThrow(
      "must collect the same outputs; got logits instead of losses.",
    );
  });

  test("other data, momentum, weight decay or loss, until it is allowed by name", async () => {
    const sgd = async (settings: Parameters<typeof optimisers.sgd>[0], more: Partial<training.TrainOptions> = {}) =>
      run({ runner: await compileTiny(device, optimisers.sgd(settings)), ...more });
    const before = { momentum: 0.9, weightDecay: 5e-4 };
    const stop = ({ step }: training.StepEvent) => (step === 6 ? "stop" : undefined);
    await sgd(before, { onStep: stop, identity: "frozen at 3" });
    const resume = { resume: true, identity: "frozen at 3" };
    await expect(sgd({ ...before, momentum: 0.8 }, resume)).rejects.toThrow(
      'must have its program, optimiser and data; got constants of the program, such as momentum or weight decay, of 0.8 instead of 0.9. Give it what it had, or say that it may have others: resumeWithOther: ["program"].',
    );
    await expect(sgd({ ...before, weightDecay: 1e-4 }, resume)).rejects.toThrow(
      "weight decay, of 0.0001 instead of 0.0005",
    );
    await expect(sgd({ momentum: 0.9 }, resume)).rejects.toThrow("another program");
    const other = { ...resume, identity: "frozen at 4", data: points(jitter, 6) };
    await expect(sgd(before, other)).rejects.toThrow(
      'got other samples, identity frozen at 4 instead of frozen at 3. Give it what it had, or say that it may have others: resumeWithOther: ["data", "identity"].',
    );
    await expect(sgd(before, { ...other, resumeWithOther: ["data"] })).rejects.toThrow('resumeWithOther: ["identity"]');
    const { outcome } = await sgd(before, { ...other, resumeWithOther: ["data", "identity"] });
    expect(outcome.steps).toBe(15);
    // What it went on with is what it is from then on.
    await expect(sgd(before, { ...resume, epochs: 4 })).rejects.toThrow("got other samples");
  });

  test("a checkpoint of another program, by the parameters' names", async () => {
    await run({ epochs: 1, collect: [] });
    const program = trace(
      ({ params, x }) => ({ loss: ops.mean(ops.mul(ops.reshape(x, [-1]), params.scale)), params }),
      {
        params: { scale: spec("float32", []) },
        x: spec("float32", ["n", 4]),
      },
    );
    const runner = await device.compile(program, {
      state: ["params"],
      initial: { params: { scale: tensor("float32", []) } },
    });
    const data = training.tensorDataset({ x: tensor("float32", [22, 4]) });
    const options = {
      runner,
      data,
      batchSize: 5,
      epochs: 2,
      generator: generator(1),
      checkpoint: { folder },
      resume: true,
    };
    await expect(training.train(options)).rejects.toThrow(
      `${await newest()} must be a checkpoint of this program; got missing "params.scale"; unknown "optimiser.firstMoment.first.bias", `,
    );
  });

  const damages: [string, string, (path: string) => Promise<unknown>][] = [
    [
      "cut short",
      "state.safetensors of 100 bytes instead of",
      (path) => truncate(join(path, "state.safetensors"), 100),
    ],
    ["without a file", "no state.safetensors", (path) => rm(join(path, "state.safetensors"))],
    ["without its list", "no checkpoint.json", (path) => rm(join(path, "checkpoint.json"))],
    ["with half a list", "a checkpoint.json that is not JSON", (path) => truncate(join(path, "checkpoint.json"), 50)],
    [
      "of something else",
      "a checkpoint.json of something else",
      (path) => writeFile(join(path, "checkpoint.json"), "[]"),
    ],
    [
      "of a later version",
      "version 2, not 1",
      (path) => edit(join(path, "checkpoint.json"), (text) => text.replace('"version": 1', '"version": 2')),
    ],
    [
      "with another step",
      "a checkpoint.json that was changed",
      (path) => edit(join(path, "checkpoint.json"), (text) => text.replace('"step": 5', '"step": 6')),
    ],
    [
      "with a flipped bit",
      "state.safetensors with another hash",
      async (path) => {
        const bytes = await readFile(join(path, "state.safetensors"));
        bytes[bytes.length - 1]! ^= 1;
        await writeFile(join(path, "state.safetensors"), bytes);
      },
    ],
  ];
  async function edit(path: string, change: (text: string) => string): Promise<void> {
    await writeFile(path, change(await readFile(path, "utf8")));
  }

  test("a checkpoint that is damaged, each way", async () => {
    await run({ epochs: 1 });
    const whole = await newest();
    const kept = join(folder, "kept");
    await cp(whole, kept, { recursive: true });
    for (const [how, message, damage] of damages) {
      await rm(whole, { recursive: true });
      await cp(kept, whole, { recursive: true });
      await damage(whole);
      const before = await readdir(whole);
      await expect(run({ resume: true }), how).rejects.toThrow(message);
      expect(await readdir(whole), how).toEqual(before);
    }
    await expect(run({ resume: true })).rejects.toThrow(
      "Remove that folder to go on from the checkpoint before it, if there is one.",
    );
  });

  test("a folder that cannot be made", async () => {
    await writeFile(join(folder, "file"), "");
    await expect(run({ checkpoint: { folder: join(folder, "file") } })).rejects.toThrow(
      "must be able to make the folder",
    );
  });
});

describe("a manifest's names are names:", () => {
  const sealed = async (path: string, change: (manifest: Record<string, unknown>) => object) => {
    const { sha256: _, ...manifest } = JSON.parse(await readFile(join(path, "checkpoint.json"), "utf8"));
    const changed = change(manifest);
    const sha256 = createHash("sha256").update(JSON.stringify(changed)).digest("hex");
    await writeFile(join(path, "checkpoint.json"), JSON.stringify({ ...changed, sha256 }));
  };

  test.each(["../../x.safetensors", "/etc/passwd", "__proto__.safetensors", "a/b.safetensors", "state"])(
    "%s is refused",
    async (name) => {
      await run({ epochs: 1 });
      const path = (await training.listCheckpoints(folder)).at(-1)!;
      const tensors = await readFile(join(path, "state.safetensors"));
      await writeFile(join(path, "__proto__.safetensors"), tensors);
      await sealed(path, (manifest) => {
        const { "state.safetensors": entry } = manifest.files as Record<string, unknown>;
        return { ...manifest, files: Object.fromEntries([[name, entry]]) };
      });
      await expect(training.readCheckpoint(path)).rejects.toThrow("got a checkpoint.json that was changed");
    },
  );

  test("a version that is an object, and a manifest that is null, are told", async () => {
    await run({ epochs: 1 });
    const path = (await training.listCheckpoints(folder)).at(-1)!;
    await sealed(path, (manifest) => ({ ...manifest, version: { toString: 1 } }));
    await expect(training.readCheckpoint(path)).rejects.toThrow('got version {"toString":1}, not 1');
    await writeFile(join(path, "checkpoint.json"), "null");
    await expect(training.readCheckpoint(path)).rejects.toThrow("got a checkpoint.json of something else");
  });
});
