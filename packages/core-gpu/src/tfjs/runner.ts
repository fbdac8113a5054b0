import { checkFeeds, checkInto, checkOutputs, checkTensor, ownFeeds } from "../device/checks.ts";
import type { RunOptions } from "../device/device.ts";
import { makeInTurn } from "../device/in-turn.ts";
import type { Runner } from "../device/runner.ts";
import { checkComplete, checkState, checkSymbols, type StatePlan, tensorInfos } from "../device/state.ts";
import { InputError } from "../errors.ts";
import type { Program } from "../program/trace.ts";
import type { Tensor } from "../tensor.ts";
import { fromTfjs, toTfjs } from "./data.ts";
import { interpret } from "./interpret.ts";
import type { Tfjs, TfjsTensor } from "./tfjs.ts";

interface Parts {
  readonly caller: string;
  readonly tf: Tfjs;
  readonly backend: string;
  readonly program: Program<unknown, unknown>;
  readonly plan: StatePlan;
  /** Inputs that are compiled in. */
  readonly bound: ReadonlyMap<string, Tensor>;
  /** First values of the state. */
  readonly first: ReadonlyMap<string, Tensor>;
}

/** A program that tfjs computes; constants and state are tfjs's tensors. `onRelease` is called once, when it is released. */
export function makeTfjsRunner(parts: Parts, onRelease: (runner: Runner) => void): Runner {
  const { tf, backend, program, plan } = parts;
  checkBound(parts);
  const interpretation = interpret(parts.caller, tf, program);
  const feedInfos = tensorInfos(plan.feeds);
  const resultInfos = tensorInfos(plan.results);
  const numbers = new Map(program.inputs.map(({ name, value }) => [name, value]));
  const constants = new Map<number, TfjsTensor>();
  const state = new Map<string, TfjsTensor>();
  const keep = <Key>(held: Map<Key, TfjsTensor>, key: Key, value: TfjsTensor) => {
    held.get(key)?.dispose();
    held.set(key, value);
  };
  const disposeAll = (held: Iterable<TfjsTensor>) => {
    for (const tensor of held) tensor.dispose();
  };
  const upload = (caller: string, what: string, values: ReadonlyMap<string, Tensor>): Map<string, TfjsTensor> => {
    const made = new Map<string, TfjsTensor>();
    try {
      for (const [name, value] of values) made.set(name, toTfjs(caller, tf, `${what} "${name}"`, value));
    } catch (error) {
      disposeAll(made.values());
      throw error;
    }
    return made;
  };
  const write = (caller: string, values: ReadonlyMap<string, Tensor>) => {
    for (const [name, value] of upload(caller, "state", values)) keep(state, name, value);
  };
  try {
    for (const [name, value] of upload(parts.caller, "constant", parts.bound)) constants.set(numbers.get(name)!, value);
    for (const { value, tensor } of program.constants) {
      constants.set(value, toTfjs(parts.caller, tf, "a constant of the program", tensor));
    }
    write(parts.caller, parts.first);
  } catch (error) {
    disposeAll([...constants.values(), ...state.values()]);
    throw error;
  }

  let releasing: Promise<void> | undefined;
  const inTurn = makeInTurn();
  const checkOpen = (caller: string) => {
    if (releasing !== undefined) {
      throw new InputError(caller, "the runner must be open", "a released one", "Compile the program again.");
    }
    if (tf.getBackend() !== backend) {
      const fix = `tf.setBackend("${backend}"), or make a device for the other one.`;
      throw new InputError(caller, `tfjs's back end must still be "${backend}"`, `"${tf.getBackend()}"`, fix);
    }
  };

  const runner: Runner = {
    program,
    run: async (fed, options: RunOptions = {}) => {
      const caller = "core-gpu.Runner.run";
      checkOpen(caller);
      const feeds = ownFeeds(fed);
      checkFeeds(caller, feedInfos, feeds);
      checkSymbols(caller, feedInfos, feeds);
      const askedInfos =
        resultInfos.length === 0 && options.outputs === undefined
          ? []
          : checkOutputs(caller, resultInfos, options.outputs);
      checkInto(caller, askedInfos, options.into);
      const names = new Set(askedInfos.map(({ name }) => name));
      const asked = plan.results.filter(({ name }) => names.has(name));
      return inTurn(async () => {
        checkComplete(caller, plan, (name) => state.has(name));
        const onDevice = upload(caller, "feed", new Map(Object.entries(feeds)));
        const given = new Map(constants);
        for (const [name, value] of [...onDevice, ...state]) given.set(numbers.get(name)!, value);
        let results: Map<number, TfjsTensor>;
        try {
          results = interpretation.run(given, [
            ...new Set([...asked, ...plan.next.values()].map(({ value }) => value)),
          ]);
        } finally {
          disposeAll(onDevice.values());
        }
        for (const [name, { value }] of plan.next) keep(state, name, results.get(value)!.clone());
        try {
          const answer: Record<string, Tensor> = {};
          for (const { name, value, spec } of asked) {
            answer[name] = placed(await fromTfjs(results.get(value)!, spec.dtype), name, options.into);
          }
          return answer;
        } finally {
          disposeAll(results.values());
        }
      });
    },
    readState: async () => {
      const caller = "core-gpu.Runner.readState";
      checkOpen(caller);
      return inTurn(async () => {
        checkComplete(caller, plan, (name) => state.has(name));
        const read: Record<string, Tensor> = {};
        for (const { name, spec } of plan.state) read[name] = await fromTfjs(state.get(name)!, spec.dtype);
        return read;
      });
    },
    writeState: async (values) => {
      const caller = "core-gpu.Runner.writeState";
      checkOpen(caller);
      const leaves = checkState(caller, plan, values);
      return inTurn(async () => write(caller, leaves));
    },
    release: () => {
      releasing ??= inTurn(async () => {
        disposeAll([...constants.values(), ...state.values()]);
        onRelease(runner);
      });
      return releasing;
    },
  };
  return runner;
}

function checkBound({ caller, program, bound }: Parts): void {
  const infos = new Map(tensorInfos(program.inputs).map((info) => [info.name, info]));
  for (const [name, value] of bound) {
    const info = infos.get(name);
    if (info === undefined) {
      const fix = `Inputs: ${[...infos.keys()].join(", ")}.`;
      throw new InputError(caller, "constants must be inputs of the program", `"${name}"`, fix);
    }
    checkTensor(caller, `constant "${name}"`, info, value);
  }
}

/** A result, in the caller's own tensor where there is one. */
function placed(result: Tensor, name: string, into: RunOptions["into"]): Tensor {
  if (into === undefined || !Object.hasOwn(into, name)) return result;
  const target = into[name]!;
  if (target.shape.join() !== result.shape.join()) {
    throw new InputError(
      "core-gpu.Runner.run",
      `into "${name}" must have shape [${result.shape.join(", ")}]`,
      `[${target.shape.join(", ")}]`,
    );
  }
  (target.data as Float32Array).set(result.data as Float32Array);
  return target;
}
