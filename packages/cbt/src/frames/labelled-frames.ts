import { asTensor, InputError, type RuntimeTensor, sizeOf, type Tensor } from "@exitkit/core-gpu";
import { checkLabelMap, type LabelMap } from "./labels.ts";

/** Frames with their labels. */
export interface LabelledFrames {
  /** float32 [n, c, h', w'], as the network takes them; ONNX Runtime's own tensors will do. */
  readonly x: Tensor | RuntimeTensor;
  /** [n, h', w'], of the frames' size. */
  readonly labels: LabelMap;
  /** What the labels are called in errors, e.g. their file. Default "labels". */
  readonly source?: string;
  /** What the frames were taken with or when: a camera, "night". Default: none. */
  readonly group?: string;
}

/** Frames that were checked. */
interface CheckedFrames extends LabelledFrames {
  readonly x: Tensor<"float32">;
}

/** Refuses frames that do not fit the network, each other or the classes; gives them in this library's words. */
export function checkLabelledFrames(
  caller: string,
  given: LabelledFrames,
  frame: readonly [number, number, number],
  classes: number,
  ignore: number,
): CheckedFrames {
  const frames = { ...(given ?? {}), x: asTensor(given?.x) } as LabelledFrames & { readonly x: Tensor | undefined };
  const { x, labels, source = "labels" } = frames;
  const shape = x?.shape;
  const fits = shape?.length === 4 && shape.slice(1).join() === frame.join() && x?.data?.length === sizeOf(shape);
  if (x?.dtype !== "float32" || !(x.data instanceof Float32Array) || !fits) {
    const actual = shape === undefined ? typeof x : `${x?.dtype} [${shape.join(", ")}]`;
    throw new InputError(caller, `x must be float32 [n, ${frame.join(", ")}]`, actual);
  }
  checkLabelMap(caller, labels!, classes, ignore, source);
  if (labels!.shape.join() === [shape[0], ...frame.slice(1)].join()) return frames as CheckedFrames;
  const expectation = `${source} must be [${[shape[0], ...frame.slice(1)].join(", ")}], of the frames' size`;
  throw new InputError(caller, expectation, `[${labels!.shape.join(", ")}]`);
}

/** Refuses what cannot be read with `for await`. */
export function checkStream(caller: string, frames: unknown): void {
  if (typeof frames === "object" && frames !== null && (Symbol.asyncIterator in frames || Symbol.iterator in frames)) {
    return;
  }
  throw new InputError(caller, "frames must be an iterable of batches", frames === null ? "null" : typeof frames);
}
