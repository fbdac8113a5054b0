import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, generator, openDevice, type Tensor, training } from "../../src/index.ts";
import { compileTiny, points } from "./tiny.ts";

let device: Device;
beforeAll(async () => {
  device = await openDevice("cpu");
});
afterAll(() => device.close());

const base = async () => ({
  runner: await compileTiny(device),
  data: points(),
  batchSize: 8,
  epochs: 3,
  generator: generator(1),
  learningRate: 0.02,
});

describe("stopping", () => {
  test("early, after so many epochs without improvement, with the best epoch's state", async () => {
    const options = await base();
    const states: Record<string, Tensor>[] = [];
    const accuracies = [0.1, 0.5, 0.4, 0.505, 0.3, 0.2];
    const best: boolean[] = [];
    const result = await training.train({
      ...options,
      epochs: 20,
      evaluate: async ({ epoch, readState }) => {
        states.push(await readState());
        return { accuracy: accuracies[epoch]! };
      },
      earlyStop: { metric: "accuracy", direction: "max", patience: 2, minDelta: 0.01 },
      onEpoch: (event) => void best.push(event.best),
    });
    expect(result).toMatchObject({ stopped: "earlyStop", steps: 12, best: { epoch: 1, value: 0.5 } });
    expect(best).toEqual([true, true, false, false]);
    expect(await options.runner.readState()).toEqual(states[1]);
    expect(result.history.map(({ evaluation }) => evaluation.accuracy)).toEqual(accuracies.slice(0, 4));
  });

  test("without restoring, and with a direction of less", async () => {
    const options = await base();
    let last: Record<string, Tensor> = {};
    const values = [3, 1, 2];
    const result = await training.train({
      ...options,
      evaluate: async ({ epoch, readState }) => {
        last = await readState();
        return { error: values[epoch]! };
      },
      earlyStop: { metric: "error", patience: 1, restoreBest: false },
    });
    expect(result).toMatchObject({ stopped: "earlyStop", best: { epoch: 1, value: 1 } });
    expect(await options.runner.readState()).toEqual(last);
  });

  test("when a callback says so", async () => {
    const step = await training.train({ ...(await base()), onStep: ({ step }) => (step === 3 ? "stop" : undefined) });
    expect(step).toMatchObject({ stopped: "callback", steps: 4 });
    const epoch = await training.train({
      ...(await base()),
      onEpoch: async ({ epoch }) => (epoch === 1 ? "stop" : undefined),
    });
    expect(epoch).toMatchObject({ stopped: "callback", steps: 6 });
  });

  test("when the signal is given", async () => {
    const controller = new AbortController();
    const result = await training.train({
      ...(await base()),
      signal: controller.signal,
      onStep: ({ step }) => {
        if (step === 1) controller.abort();
      },
    });
    expect(result).toMatchObject({ stopped: "signal", steps: 2 });
  });
});
