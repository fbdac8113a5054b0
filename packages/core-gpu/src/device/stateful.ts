import type * as ort from "onnxruntime-node";
import { InputError } from "../errors.ts";
import type { TensorInfo } from "../onnx/model.ts";
import { printShape } from "../program/dimensions.ts";
import type { Program } from "../program/trace.ts";
import type { Tensor } from "../tensor.ts";
import { checkFeeds, checkInto, checkOutputs, ownFeeds } from "./checks.ts";
import type { RunOptions } from "./device.ts";
import { makeInTurn } from "./in-turn.ts";
import type { PortNames } from "./loop.ts";
import { fromNative, runtimeError, toNative } from "./native.ts";
import type { Residence } from "./residence.ts";
import type { Runner } from "./runner.ts";
import { checkComplete, checkState, checkSymbols, type StatePlan, tensorInfos } from "./state.ts";

/**
 * Runs a session whose state lies in a residence. `stepsPerRun` is the most steps that
 * may be fed at once, if they are stacked; `search` finds what is not finite in a run of one step; `onRelease` is called once, when the runner is released.
 */
export function makeRunner(
  program: Program<unknown, unknown>,
  plan: StatePlan,
  { inputs: inputNames, outputs: outputNames }: PortNames,
  native: ort.InferenceSession,
  residence: Residence,
  stepsPerRun: number | undefined,
  search: ((fed: Readonly<Record<string, Tensor>>) => Promise<string | null>) | undefined,
  onRelease: (runner: Runner) => Promise<void>,
): Runner {
  const feedInfos = tensorInfos(plan.feeds);
  const resultInfos = tensorInfos(plan.results);
  let releasing: Promise<void> | undefined;
  const inTurn = makeInTurn();
  const checkOpen = (caller: string) => {
    if (releasing === undefined) return;
    throw new InputError(caller, "the runner must be open", "a released one", "Compile the program again.");
  };

  const runOnce = async (
    caller: string,
    feeds: Readonly<Record<string, Tensor>>,
    asked: readonly TensorInfo[],
    into: NonNullable<RunOptions["into"]>,
  ): Promise<Record<string, Tensor>> => {
    checkComplete(caller, plan, residence.has);
    const inputs: Record<string, ort.Tensor> = { ...(await residence.feeds()) };
    for (const { name } of feedInfos) inputs[inputNames.get(name)!] = toNative(feeds[name]!);
    const outputs: Record<string, ort.Tensor | null> = { ...residence.fetches() };
    for (const { name } of residence.bound ? resultInfos : asked) {
      const given = !residence.bound && Object.hasOwn(into, name);
      outputs[outputNames.get(name)!] = given ? toNative(into[name]!) : null;
    }
    let results: ort.InferenceSession.ReturnType;
    try {
      results = await native.run(inputs, outputs);
    } catch (error) {
      const outside = /out of (range|data bounds)/i.test(String(error)) ? "A label or an index is out of range. " : "";
      const fix =
        `${outside}Check that the feeds' dimensions fit together and that \`into\` has the shapes the program gives. ` +
        "The state is as it was before.";
      throw runtimeError(caller, "ONNX Runtime must be able to run the program", error, fix);
    }
    residence.commit(results);
    return Object.fromEntries(
      asked.map(({ name }) => {
        const result = fromNative(results[outputNames.get(name)!]!);
        if (!Object.hasOwn(into, name)) return [name, result];
        if (residence.bound) copyInto(caller, name, into[name]!, result);
        return [name, into[name]!];
      }),
    );
  };

  const runner: Runner = {
    program,
    run: async (given, options = {}) => {
      const caller = "core-gpu.Runner.run";
      checkOpen(caller);
      const feeds = ownFeeds(given);
      checkFeeds(caller, feedInfos, feeds);
      checkSymbols(caller, feedInfos, feeds);
      if (stepsPerRun !== undefined) checkSteps(caller, stepsPerRun, feedInfos[0]?.name, feeds);
      const asked =
        resultInfos.length === 0 && options.outputs === undefined
          ? []
          : checkOutputs(caller, resultInfos, options.outputs);
      checkInto(caller, asked, options.into);
      return inTurn(() => runOnce(caller, feeds, asked, options.into ?? {}));
    },
    readState: async () => {
      const caller = "core-gpu.Runner.readState";
      checkOpen(caller);
      return inTurn(async () => {
        checkComplete(caller, plan, residence.has);
        return residence.read();
      });
    },
    writeState: async (state) => {
      const caller = "core-gpu.Runner.writeState";
      checkOpen(caller);
      const leaves = checkState(caller, plan, state);
      return inTurn(async () => residence.write(leaves));
    },
    firstNotFinite: async (feeds, ago) => {
      const caller = "core-gpu.Runner.firstNotFinite";
      checkOpen(caller);
      checkFeeds(caller, feedInfos, feeds);
      return inTurn(async () => {
        const state = residence.before(ago);
        return state === null || search === undefined ? null : search({ ...state, ...feeds });
      });
    },
    release: () => {
      releasing ??= inTurn(async () => {
        await residence.release();
        await onRelease(runner);
      });
      return releasing;
    },
  };
  return runner;
}

function copyInto(caller: string, name: string, target: Tensor, result: Tensor): void {
  if (target.shape.join() !== result.shape.join()) {
    const expectation = `into "${name}" must have the shape the program gives, ${printShape(result.shape)}`;
    throw new InputError(caller, expectation, printShape(target.shape));
  }
  (target.data as Float32Array).set(result.data as Float32Array);
}

/** Refuses no steps, and more than were said: the loop would run either, but the first gives nothing. */
function checkSteps(
  caller: string,
  most: number,
  first: string | undefined,
  feeds: Readonly<Record<string, Tensor>>,
): void {
  const steps = first === undefined ? most : feeds[first]!.shape[0]!;
  if (steps >= 1 && steps <= most) return;
  throw new InputError(caller, `the feeds' first dimension must be 1 to ${most} steps`, String(steps));
}
