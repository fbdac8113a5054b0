import { InputError, type Value } from "@exitkit/core-gpu";

/**
 * Says what a pixel that is done keeps: `carry(after, before)` is `after` where pixels go on and `before` where they are done, on the
 * grid of the decisions. Both have equal shapes (a residual block's output and input), or `fitCarries` has made a map from one to the other.
 * Call it on what neighbours will look at, in the same order each time.
 */
export type Carry = (after: Value, before: Value) => Value;

/** Features by name, each [1, c, h, w]. */
export type Features = Readonly<Record<string, Value>>;

/** What is computed up to an exit from what the exit before left. */
export interface SegmentationStage {
  /**
   * New features, or old ones under their old names, from all there are; the first stage is given `frame`. A plain function of
   * traced values: it is traced once for every way to run it.
   */
  readonly compute: (features: Features, carry: Carry) => Features;
  /** Name of the feature the exit reads; of the last stage the one that is the network's logits [1, k, h', w']. */
  readonly tap: string;
  /**
   * Name of a feature that the stage is given, on the grid of the decisions, from which fitted carries of its exit predict what done
   * pixels would have said. Without it an exit that looks at neighbours has its tap computed everywhere.
   */
  readonly source?: string;
}

/** A segmentation network in stages; with `heads` all but the last end in an exit. */
export interface SegmentationNetwork {
  /** [c, h, w] of a frame. */
  readonly frame: readonly [number, number, number];
  /** k. */
  readonly classes: number;
  /** [e], e ≥ 2. Early taps lie on one grid [h, w], on which pixels are done or go on. */
  readonly stages: readonly SegmentationStage[];
}

/** A segmentation network whose e − 1 early stages end in exits. */
export interface SegmentationExitNetwork extends SegmentationNetwork {
  /** `[e − 1]`: logits [1, k, h, w] of an exit from its tap [1, c, h, w]. */
  readonly heads: readonly ((tap: Value) => Value)[];
}

/** Refuses what is no network, exits that do not fit its stages, or too few stages. */
export function checkNetwork(caller: string, network: SegmentationNetwork): void {
  const { frame, classes, stages } = (network ?? {}) as Partial<SegmentationNetwork>;
  const sizes =
    Array.isArray(frame) && frame.length === 3 && frame.every((size) => Number.isSafeInteger(size) && size >= 1);
  if (!sizes) throw new InputError(caller, "network.frame must be [c, h, w]", JSON.stringify(frame) ?? "undefined");
  if (!Number.isSafeInteger(classes) || classes! < 2 || classes! > 256) {
    throw new InputError(caller, "network.classes must be a whole number from 2 to 256", String(classes));
  }
  const whole = (stage: SegmentationStage) => typeof stage?.compute === "function" && typeof stage?.tap === "string";
  if (!Array.isArray(stages) || stages.length < 2 || !stages.every(whole)) {
    const actual = Array.isArray(stages) ? `${stages.length} stages` : typeof stages;
    throw new InputError(caller, "network.stages must be two stages { compute, tap } or more", actual);
  }
}

/** The feature of that name. */
export function featureOf(caller: string, features: Features, name: string, stage: number): Value {
  const found = features[name];
  if (found !== undefined) return found;
  const known = Object.keys(features).join(", ");
  throw new InputError(caller, `stage ${stage} must give its tap`, `no "${name}" among ${known || "nothing"}`);
}
