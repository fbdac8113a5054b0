import {
  asTensor,
  checkArguments,
  type Device,
  InputError,
  onnx,
  parseOptions,
  type RuntimeTensor,
  sizeOf,
  type Tensor,
} from "@exitkit/core-gpu";
import { z } from "zod";
import { type BatchLayout, probeBatchLayout } from "../exits/batch-axis.ts";
import type { ExitModel } from "../exits/exits.ts";
import { EXIT_MODEL } from "../exits/exits.ts";
import { cutAtExits } from "../exits/stages.ts";
import { isConfidence, REJECTED } from "../records/record.ts";
import { NEVER } from "../records/replay.ts";
import { heldThresholds } from "../thresholds/held-thresholds.ts";
import { goesOn, releaseAll, type StageAnswers } from "./engine.ts";
import { MOST_FUSED_EXITS } from "./fuse.ts";
import { openFused } from "./fused.ts";
import { invalidRows, refuseAnswers, refuseRows, withoutRows, withRejected } from "./invalid-rows.ts";
import { batchQueue } from "./queue.ts";
import { openSessions } from "./sessions.ts";
import { openWhole } from "./whole.ts";

/** How stages are run: all in one graph with nested `If`s, or each in a session of its own. Results agree. */
export type Execution = "fused" | "sessions";

/** Options of {@link openStaged}. */
export interface StagedOptions {
  /** Default: `fused` on the CPU for at most 30 exits (deeper graphs do not load) and from operator set 9 on, else `sessions`. */
  readonly execution?: Execution;
  /** Shape of one sample, without the batch dimension. Default: what the model states; needed if that is symbolic. */
  readonly sampleShape?: readonly number[];
  /**
   * Take one sample a call: for networks that take no more, or that answer a sample otherwise in other company (dynamic ranges
   * in 8 bits, batch norm in training mode), which are refused without it. Their thresholds must be chosen on records of single
   * samples too. Default false.
   */
  readonly oneByOne?: boolean;
  /**
   * What is done with rows that are no samples: that hold NaN, an infinity or a number whose square is one in float32 (1.8e19), or
   * that make a confidence NaN. `error`
   * (default) refuses the batch and names them; `reject` answers them {@link REJECTED} with confidence 0 at the first exit, and the
   * others as if they were alone.
   */
  readonly onInvalid?: "error" | "reject";
}

/** Options of one call of {@link StagedClassifier.classify}. */
export interface ClassifyOptions {
  /** Takes the call out of the queue while it waits; a batch under way is finished. The promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What a batch of n samples was answered; the last exit index, e − 1, is the full network. */
export interface Classification {
  /** `[n]`: the class answered. */
  readonly predictions: Int32Array;
  /** `[n]`: the exit each sample left at, from 0. */
  readonly leftAt: Int32Array;
  /** `[n]`: the confidence at that exit; 0 for rows that are no samples and were turned away (`onInvalid`). */
  readonly confidences: Float32Array;
  /** `[e]`: rows that each stage really computed. */
  readonly rowsPerStage: readonly number[];
}

/** A network that stops early where it is sure. Must be released, or closed with its device. */
export interface StagedClassifier {
  /** How the stages are run. */
  readonly execution: Execution;
  /**
   * Classifies a batch: after each stage the samples whose confidence is strictly greater than the exit's threshold
   * leave, and only the others are computed any further. Calls that overlap are run one after another, at most 256 waiting;
   * an empty batch gives empty answers.
   *
   * @param batch `[n, ...]` in the model's input dtype; ONNX Runtime's own tensors will do. It is copied before the call returns, so its memory may be used again.
   * @param thresholds `[e − 1]`, rounded to float32; `NEVER` switches an exit off, `ALWAYS` makes it the last.
   * @throws InputError on another dtype or shape, rows that are no samples (unless `onInvalid` rejects them), a wrong number of
   * thresholds, a NaN threshold, a confidence outside [0, 1], too many calls waiting, or after release.
   */
  classify(
    batch: Tensor | RuntimeTensor,
    thresholds: readonly number[],
    options?: ClassifyOptions,
  ): Promise<Classification>;
  /** Waits for runs in progress and frees the sessions. Releasing twice is allowed. */
  release(): Promise<void>;
}

const optionsSchema = z.strictObject({
  execution: z.enum(["fused", "sessions"]).optional(),
  sampleShape: z.array(z.int().min(1)).readonly().optional(),
  oneByOne: z.boolean().default(false),
  onInvalid: z.enum(["error", "reject"]).default("error"),
});

/** The first operator set with NonZero, by which the rows that go on are found in the graph. */
const FUSED_OPSET = 9;

const classifySchema = z.strictObject({ signal: z.instanceof(AbortSignal).optional() });

/**
 * Opens a network with exits for staged execution: compute up to an exit, decide, compact the batch to the samples that
 * go on, compute the next stage.
 *
 * With `NEVER` at every exit the plain network is run, in a session of its own that is loaded then: its answers bit for bit (of
 * a model with `whenNoneIsSure: "mostConfident"` those of its last exit, the most confident of all; see `toExitModel`).
 * With other thresholds the last places of confidences behind a cut can differ from it, as ONNX Runtime's blocked layout on the
 * CPU adds residuals there in another order. They can also with the number of rows computed together, as in any session.
 * While opening, the network is run on 1, 2 and 3 made-up samples to see which tensors that cross between stages have a
 * row for every sample, and that a sample is answered alike in any company. A model whose batch dimension is fixed at 1 works too, one sample at a time.
 *
 * @throws InputError when the exits do not fit the model, a sample's answer depends on the others of its batch (naming the
 * operator), a tensor that crosses between stages has the batch on another
 * axis or depends on it otherwise, an answer is not `[n]`, the sample's shape is not known, or the device refuses.
 * @example
 * ```ts
 * import { openStaged, type ExitModel } from "@exitkit/early-exit";
 * import type { Device, Tensor } from "@exitkit/core-gpu";
 * const run = async (device: Device, network: ExitModel, images: Tensor) => {
 *   const staged = await openStaged(device, network);
 *   const { predictions, leftAt } = await staged.classify(images, [0.9, 0.8]);
 *   await staged.release();
 *   return { predictions, leftAt };
 * };
 * ```
 */
export async function openStaged(
  device: Device,
  exitModel: ExitModel,
  options: StagedOptions = {},
): Promise<StagedClassifier> {
  const caller = "early-exit.openStaged";
  checkArguments(caller, { device: [device, "an open device"], exitModel: [exitModel, EXIT_MODEL] });
  const { execution: asked, sampleShape, oneByOne, onInvalid } = parseOptions(caller, optionsSchema, options);
  const e = exitModel.exits.length;
  const fusible = e <= MOST_FUSED_EXITS && onnx.opsetOf(exitModel.model) >= FUSED_OPSET;
  const execution = asked ?? (device.kind === "cpu" && fusible ? "fused" : "sessions");
  if (execution === "fused" && e > MOST_FUSED_EXITS) {
    const fix = `Use execution: "sessions", or fewer exits.`;
    throw new InputError(caller, `fused execution takes at most ${MOST_FUSED_EXITS} exits`, `${e}`, fix);
  }
  if (execution === "fused" && !fusible) {
    const opset = `${onnx.opsetOf(exitModel.model)}`;
    throw new InputError(
      caller,
      `fused execution needs operator set ${FUSED_OPSET}`,
      opset,
      'Use execution: "sessions".',
    );
  }
  const stages = cutAtExits(caller, exitModel);
  const layout = await probeBatchLayout(caller, device, exitModel, stages, sampleShape, oneByOne);
  const open = execution === "fused" ? openFused : openSessions;
  const engine = await open(device, exitModel, stages, layout);
  const whole = openWhole(device, exitModel, stages);
  let released: Promise<void> | undefined;
  const queue = batchQueue();

  return {
    execution,
    classify: async (given, thresholds, options) => {
      const caller = "early-exit.classify";
      if (released !== undefined) {
        throw new InputError(caller, "the classifier must be open", "a released one", "Open it again: openStaged.");
      }
      const batch = asTensor(given);
      checkBatch(caller, layout, exitModel.input, batch);
      const { signal } = parseOptions(caller, classifySchema, options);
      const held = heldThresholds(caller, e, thresholds);
      const invalid = invalidRows(batch);
      if (invalid.length > 0 && onInvalid === "error") refuseRows(caller, batch, invalid);
      const samples = invalid.length === 0 ? batch : withoutRows(batch, invalid);
      const n = samples.shape[0]!;
      const off = e > 1 && held.every((threshold) => threshold >= NEVER);
      // Buffers are shared between runs.
      const answers = await queue.run(caller, samples, signal, async (own) =>
        n === 0 ? [] : (off ? whole : engine).run(own, held),
      );
      const answered = assemble(caller, exitModel.exits, n, answers, held);
      return withRejected(checkAnswers(caller, exitModel.exits, answered, onInvalid), invalid);
    },
    release: () => {
      released ??= queue.settled().then(() => releaseAll([engine, whole]));
      return released;
    },
  };
}

function checkBatch(caller: string, layout: BatchLayout, input: string, batch: Tensor): void {
  const { dtype, sampleShape, fixedBatch } = layout;
  const expectation = `the batch must be ${dtype} [${["n", ...sampleShape].join(", ")}], as input "${input}" is`;
  if (!ArrayBuffer.isView(batch?.data) || !Array.isArray(batch.shape)) {
    throw new InputError(caller, expectation, typeof batch, "Make one with tensor(dtype, shape, data).");
  }
  const { shape } = batch;
  const fits = shape.length === sampleShape.length + 1 && sampleShape.every((size, at) => size === shape[at + 1]);
  if (batch.dtype !== dtype || !fits) {
    throw new InputError(caller, expectation, `${batch.dtype} [${shape.join(", ")}]`);
  }
  if (batch.data.length !== sizeOf(shape)) {
    throw new InputError(
      caller,
      `a batch of shape [${shape.join(", ")}] must have ${sizeOf(shape)} elements`,
      `${batch.data.length}`,
    );
  }
  if (fixedBatch !== null && shape[0]! > fixedBatch) {
    const fix = "Export the model with a symbolic batch dimension to classify several at once.";
    throw new InputError(caller, `the model takes ${fixedBatch} sample at a time`, `${shape[0]}`, fix);
  }
}

/** Rows whose confidence is NaN: refused, or answered as rejected. */
function checkAnswers(
  caller: string,
  exits: ExitModel["exits"],
  answers: Classification,
  onInvalid: "error" | "reject",
): Classification {
  const { confidences, predictions, leftAt } = answers;
  const bad: number[] = [];
  for (let row = 0; row < confidences.length; row++) if (Number.isNaN(confidences[row])) bad.push(row);
  if (bad.length === 0) return answers;
  if (onInvalid === "error") refuseAnswers(caller, confidences.length, bad, exits[leftAt[bad[0]!]!]!.name);
  for (const row of bad) {
    predictions[row] = REJECTED;
    confidences[row] = 0;
  }
  return answers;
}

/** Plain loops: this runs after every batch, too seldom to be compiled and with the network in the caches. */
function assemble(
  caller: string,
  described: ExitModel["exits"],
  n: number,
  answers: readonly StageAnswers[],
  thresholds: Float32Array,
): Classification {
  const e = described.length;
  const predictions = new Int32Array(n);
  const leftAt = new Int32Array(n);
  const confidences = new Float32Array(n);
  const rowsPerStage: number[] = [];
  const alive = new Int32Array(n);
  for (let row = 0; row < n; row++) alive[row] = row;
  let count = n;
  for (let j = 0; j < e; j++) {
    const answer = answers[j];
    const rows = answer === undefined ? 0 : answer.confidences.length;
    rowsPerStage.push(rows);
    if (rows !== count || (answer !== undefined && answer.predictions.length !== count)) {
      throw new Error(`stage ${j} answered ${rows} rows of ${count}`);
    }
    // What goes on is overwritten by the exits behind this one.
    let kept = 0;
    for (let at = 0; at < count; at++) {
      const row = alive[at]!;
      const confidence = answer!.confidences[at]!;
      if (!isConfidence(confidence) && !Number.isNaN(confidence)) {
        const expectation = `confidences of exit "${described[j]!.name}" must lie in [0, 1]`;
        throw new InputError(
          caller,
          expectation,
          `${confidence} at row ${row}`,
          "Scale it, e.g. by a sigmoid, in the graph.",
        );
      }
      predictions[row] = Number(answer!.predictions[at]!);
      leftAt[row] = j;
      confidences[row] = confidence;
      if (j < e - 1 && goesOn(confidence, thresholds[j]!)) alive[kept++] = row;
    }
    count = kept;
  }
  return { predictions, leftAt, confidences, rowsPerStage };
}
