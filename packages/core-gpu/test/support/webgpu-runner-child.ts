// Runs programs with state on the devices named and prints what came out, for a test that starts it under a chosen driver.
import type { DeviceKind } from "../../src/device/device.ts";
import { openDevice } from "../../src/device/open.ts";
import type { Tensor } from "../../src/tensor.ts";
import { tensor } from "../../src/tensor.ts";
import { initialState, stateProgram } from "./state-program.ts";

const listed = (tensors: Record<string, Tensor>) =>
  Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, data }]) => [
      name,
      { dtype, shape, data: Array.from(data, Number) },
    ]),
  );

async function follow(kind: DeviceKind) {
  const device = await openDevice(kind);
  const runner = await device.compile(stateProgram(), { state: ["params", "optimiser"], initial: initialState() });
  const seen: unknown[] = [listed(await runner.readState())];
  const feeds = (at: number) => ({
    x: tensor("float32", [2, 3], [1, at, -1, 0.5, 2, at / 2]),
    y: tensor("float32", [2, 2], [at, 1, -1, 0.25]),
    learningRate: tensor("float32", [], [0.1 / (1 + at)]),
  });
  const losses = tensor("float32", [2]);
  for (let at = 0; at < 4; at++) {
    // All results, one of them, one written into a given tensor.
    const options = [{}, { outputs: ["loss"] }, { into: { losses } }, { outputs: ["losses"] }][at]!;
    seen.push(listed(await runner.run(feeds(at), options)));
  }
  seen.push(listed({ losses }), listed(await runner.readState()));
  // Some of the state is replaced, some stays on the device; that which never changes too.
  await runner.writeState({ params: { bias: tensor("float32", [2], [3, -3]), scale: tensor("float32", [], [2]) } });
  seen.push(listed(await runner.readState()));
  seen.push(listed(await runner.run(feeds(4))), listed(await runner.readState()));
  // Another runner of the same program, while the first is still there and after.
  const second = await device.compile(stateProgram(), { state: ["params", "optimiser"], initial: initialState() });
  await second.run(feeds(0));
  await runner.release();
  await second.run(feeds(1));
  seen.push(listed(await second.readState()));
  const failed = await second.run({ ...feeds(2), y: tensor("float32", [1, 2]) }).catch((error: Error) => error.message);
  seen.push(failed, listed(await second.readState()));
  const several = { state: ["params", "optimiser"], initial: initialState(), stepsPerRun: 2 };
  const looped = await device.compile(stateProgram(), several);
  const both = {
    x: tensor("float32", [2, 1, 3], [1, 2, 3, 4, 5, 6]),
    y: tensor("float32", [2, 1, 2]),
    learningRate: tensor("float32", [2], [0.1, 0.05]),
  };
  seen.push(listed(await looped.run(both)), listed(await looped.run(both)), listed(await looped.readState()));
  await device.close();
  return seen;
}

const report: Record<string, unknown> = {};
for (const kind of process.argv.slice(2) as DeviceKind[]) report[kind] = await follow(kind);
process.stdout.write(`\nREPORT${JSON.stringify(report)}\n`);
