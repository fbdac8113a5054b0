import type * as ort from "onnxruntime-node";
import { InputError } from "../errors.ts";
import { requireModel } from "../onnx/graph.ts";
import { loopsIn } from "../onnx/loops.ts";
import type { Model, TensorInfo } from "../onnx/model.ts";
import { describeModel, readModel, writeModel } from "../onnx/model.ts";
import { quoted } from "../onnx/names.ts";
import { parseOptions } from "../options.ts";
import type { Tensor } from "../tensor.ts";
import { checkFeeds, checkInto, checkOutputs, ownFeeds } from "./checks.ts";
import type { LoadOptions, RunOptions, Session } from "./device.ts";
import { createNative, fromNative, loadOptions, type Placement, runtimeError, toNative } from "./native.ts";

/** Loads a model into an ONNX Runtime session; `onRelease` is called once, when it is released. */
export async function openSession(
  placement: Placement,
  source: Model | Uint8Array,
  options: LoadOptions | undefined,
  onRelease: (session: Session) => void,
): Promise<Session> {
  const caller = "core-gpu.Device.load";
  parseOptions(caller, loadOptions, options);
  // Bytes are decoded too: a model whose weights lie in files of its choice must be refused before the runtime sees it.
  const model = source instanceof Uint8Array ? readModel(source) : source;
  requireModel(caller, model);
  const bytes = source instanceof Uint8Array ? source : writeModel(source);
  const native = await createNative(caller, placement, bytes, options);
  const description = describeModel(model);
  const inputs = merged(native.inputMetadata, description.inputs);
  const outputs = merged(native.outputMetadata, description.outputs);
  let released = false;

  const session: Session = {
    inputs,
    outputs,
    notes: loopsIn(model).map(
      ({ opType, name, output }) =>
        `${opType} node ${quoted(name || output[0] || "")} decides how long a run takes: there is no deadline.`,
    ),
    run: async (given, options = {}) => {
      const caller = "core-gpu.Session.run";
      const open = () => {
        if (!released) return;
        throw new InputError(caller, "the session must be open", "a released one", "Load the model again.");
      };
      open();
      const feeds = ownFeeds(given);
      checkFeeds(caller, inputs, feeds);
      const asked = checkOutputs(caller, outputs, options.outputs);
      checkInto(caller, asked, options.into);
      try {
        return await runNative(native, feeds, asked, options.into);
      } catch (error) {
        open();
        const fix = "Check that the feeds' dimensions fit together and that `into` has the shapes the model gives.";
        throw runtimeError(caller, "ONNX Runtime must be able to run the model", error, fix);
      }
    },
    release: async () => {
      if (released) return;
      released = true;
      onRelease(session);
      await native.release();
    },
  };
  return session;
}

async function runNative(
  native: ort.InferenceSession,
  feeds: Readonly<Record<string, Tensor>>,
  asked: readonly TensorInfo[],
  into: RunOptions["into"] = {},
): Promise<Record<string, Tensor>> {
  const given = (name: string): Tensor | undefined => (Object.hasOwn(into, name) ? into[name] : undefined);
  const fetches = asked.map(({ name }) => {
    const target = given(name);
    return [name, target === undefined ? null : toNative(target)] as const;
  });
  const inputs = Object.entries(feeds).map(([name, value]) => [name, toNative(value)] as const);
  const results = await native.run(Object.fromEntries(inputs), Object.fromEntries(fetches));
  return Object.fromEntries(asked.map(({ name }) => [name, given(name) ?? fromNative(results[name]!)] as const));
}

/** What the runtime knows of inputs or outputs, with the difference between no dimensions and unknown ones. */
function merged(
  metadata: readonly ort.InferenceSession.ValueMetadata[],
  described: readonly TensorInfo[],
): readonly TensorInfo[] {
  return metadata.map((info) => {
    const { name } = info;
    const stated = described.find((other) => other.name === name);
    if (!info.isTensor) return stated ?? { name, dtype: "undefined", shape: [], unknownRank: true };
    const shape = info.shape.map((dimension) => (dimension === "" ? null : dimension));
    const unknownRank = stated?.unknownRank === true && shape.length === 0;
    return { name, dtype: info.type, shape, ...(unknownRank ? { unknownRank } : {}) };
  });
}
