import { clipped, InputError } from "../errors.ts";
import type { TensorInfo } from "../onnx/model.ts";
import type { DType, RuntimeTensor, Tensor } from "../tensor.ts";
import { asTensor, sizeOf } from "../tensor.ts";

const held: ReadonlySet<string> = new Set<DType>(["float32", "float64", "int32", "int64", "uint8", "bool"]);

/** Feeds in this library's words. */
export function ownFeeds(feeds: Readonly<Record<string, Tensor | RuntimeTensor>>): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(Object.entries(feeds).map(([name, value]) => [name, asTensor(value)]));
}

/** Refuses feeds that are missing, unknown, or of another dtype or shape than the model's inputs. */
export function checkFeeds(
  caller: string,
  inputs: readonly TensorInfo[],
  feeds: Readonly<Record<string, Tensor>>,
): void {
  const names = inputs.map(({ name }) => name);
  const missing = names.filter((name) => !Object.hasOwn(feeds, name));
  if (missing.length > 0) {
    throw new InputError(
      caller,
      `every input must be fed (${quoted(names)})`,
      `no feed for ${quoted(missing)}`,
      "Add it to the feeds.",
    );
  }
  checkKnown(caller, "feeds", "input", names, Object.keys(feeds));
  for (const info of inputs) checkTensor(caller, `feed "${info.name}"`, info, feeds[info.name]!);
}

/** The outputs a run is to compute: those asked for, else all. Refuses unknown ones and dtypes no host tensor has. */
export function checkOutputs(
  caller: string,
  outputs: readonly TensorInfo[],
  asked: readonly string[] | undefined,
): readonly TensorInfo[] {
  const names = outputs.map(({ name }) => name);
  if (asked?.length === 0) {
    throw new InputError(caller, "outputs must name at least one output", "none", `The model has ${quoted(names)}.`);
  }
  checkKnown(caller, "outputs", "output", names, asked ?? []);
  const chosen = asked === undefined ? outputs : outputs.filter(({ name }) => asked.includes(name));
  for (const { name, dtype } of chosen) {
    if (held.has(dtype)) continue;
    const fix = "Ask for other outputs, or put a Cast behind it.";
    throw new InputError(caller, `output "${name}" must have a dtype that a host tensor holds`, dtype, fix);
  }
  return chosen;
}

/** Refuses preallocated tensors that cannot take the outputs of those names. */
export function checkInto(
  caller: string,
  asked: readonly TensorInfo[],
  into: Readonly<Record<string, Tensor>> | undefined,
): void {
  if (into === undefined) return;
  const names = asked.map(({ name }) => name);
  checkKnown(caller, "into", "computed output", names, Object.keys(into));
  for (const info of asked) {
    if (Object.hasOwn(into, info.name)) checkTensor(caller, `into "${info.name}"`, info, into[info.name]!);
  }
}

/** Refuses names that are none of the known ones. */
export function checkKnown(
  caller: string,
  option: string,
  noun: string,
  known: readonly string[],
  given: readonly string[],
): void {
  const unknown = given.filter((name) => !known.includes(name));
  if (unknown.length === 0) return;
  throw new InputError(caller, `${option} must name ${noun}s of the model (${quoted(known)})`, quoted(unknown));
}

/** Refuses a tensor of another dtype or shape, or one that is none. */
export function checkTensor(caller: string, what: string, info: TensorInfo, value: Tensor): void {
  if (!ArrayBuffer.isView(value?.data) || !Array.isArray(value.shape)) {
    throw new InputError(caller, `${what} must be a tensor`, typeof value, "Make one with tensor(dtype, shape, data).");
  }
  if (value.dtype !== info.dtype) {
    const fix = held.has(info.dtype) ? undefined : "Host tensors cannot hold it: put a Cast into the model.";
    throw new InputError(caller, `${what} must have dtype ${info.dtype}`, value.dtype, fix);
  }
  if (value.data.length !== sizeOf(value.shape)) {
    const needed = `${what} of shape ${printed(value.shape)} must have ${sizeOf(value.shape)} elements`;
    throw new InputError(caller, needed, `${value.data.length}`);
  }
  const { shape } = value;
  const fits =
    shape.length === info.shape.length &&
    info.shape.every((dimension, axis) => typeof dimension !== "number" || dimension === shape[axis]);
  if (!fits && !info.unknownRank) {
    throw new InputError(caller, `${what} must have shape ${printed(info.shape)}`, printed(shape));
  }
}

/** `"a", "b"`, or `none`. */
export const quoted = (names: readonly string[]): string => {
  const shown = names.slice(0, 20).map((name) => `"${clipped(name)}"`);
  if (names.length > shown.length) shown.push(`and ${names.length - shown.length} more`);
  return shown.join(", ") || "none";
};

const printed = (shape: TensorInfo["shape"]): string => `[${shape.map((dimension) => dimension ?? "?").join(", ")}]`;
