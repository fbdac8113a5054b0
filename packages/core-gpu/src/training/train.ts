import type { Runner } from "../device/runner.ts";
import { InputError } from "../errors.ts";
import { claimFolder } from "../folder-claim.ts";
import { parseOptions } from "../options.ts";
import { floats } from "../program/operator.ts";
import { type Tensor, tensor } from "../tensor.ts";
import { epochBatches, type PreparedBatch } from "./batches.ts";
import { makeCollector } from "./collect.ts";
import { attempt } from "./failure.ts";
import { type CheckedOptions, type TrainOptions, type TrainResult, trainOptions } from "./options.ts";
import { addMetrics, type EpochRecord, meanMetrics, notFiniteIn, type StopReason } from "./progress.ts";
import { finiteState, notFinite, type Run, readState, saveRun, startRun } from "./run.ts";

const caller = "core-gpu.training.train";

/**
 * Trains: runs a compiled training step on every batch of every epoch. The step itself (loss, gradients, optimiser) is the
 * program's affair, so any loss over any program can be driven.
 *
 * Deterministic: the batches follow from `generator` and nothing else, and a run that was killed at any moment and is taken
 * up by `resume: true` has the same parameters, optimiser state, history and collected outputs as one that was not. Give the
 * resumed run the same program, data and options (`epochs` may grow; the learning rate is not compared): others are refused,
 * by name, unless `resumeWithOther` allows them.
 *
 * The checkpoint folder is this run's own while it lasts; what a process that is gone left claimed is taken over.
 *
 * @throws InputError on an option that is unknown, out of range or does not fit the program; a checkpoint that is damaged or
 * of another run; a folder in which another run is.
 * @throws TrainingError when the loss is NaN or infinite, a parameter is when a checkpoint is due, or the device or the data
 * fail: it names the step, the first bad parameter and the last good checkpoint, from which a run on any device goes on.
 * @example
 * ```ts
 * import { generator, gradients, openDevice, ops, spec, tensor, trace, training } from "@exitkit/core-gpu";
 * const step = trace(
 *   ({ params, x, y, learningRate }) => {
 *     const loss = ops.mean(ops.square(ops.sub(ops.linear(x, params.weight), y)));
 *     const gradient = gradients(loss, params.weight);
 *     return { loss, params: { weight: ops.sub(params.weight, ops.mul(learningRate, gradient)) } };
 *   },
 *   {
 *     params: { weight: spec("float32", [1, 1]) },
 *     x: spec("float32", ["n", 1]),
 *     y: spec("float32", ["n", 1]),
 *     learningRate: spec("float32", []),
 *   },
 * );
 * const device = await openDevice("cpu");
 * const runner = await device.compile(step, { state: ["params"], initial: { params: { weight: tensor("float32", [1, 1]) } } });
 * const data = training.tensorDataset({ x: tensor("float32", [4, 1], [1, 2, 3, 4]), y: tensor("float32", [4, 1], [2, 4, 6, 8]) });
 * await training.train({ runner, data, batchSize: 2, epochs: 20, generator: generator(1), learningRate: 0.05 });
 * const { "params.weight": weight } = await runner.readState();
 * console.assert(Math.abs(Number(weight?.data[0]) - 2) < 1e-3);
 * await device.close();
 * ```
 */
export async function train(options: TrainOptions): Promise<TrainResult> {
  const checked = parseOptions(caller, trainOptions, options) as CheckedOptions;
  checkProgram(checked);
  const folder = checked.checkpoint?.folder;
  const claim = folder === undefined ? null : await claimFolder(caller, folder);
  try {
    return await trainFrom(await startRun(checked));
  } finally {
    await claim?.release();
  }
}

async function trainFrom(run: Run): Promise<TrainResult> {
  const checked = run.options;
  let stopped: StopReason | null = run.stoppedEarly ? "earlyStop" : null;
  while (stopped === null && run.position.epoch < checked.epochs) stopped = await runEpoch(run);
  const { bestState, last: position, checkpoint } = run;
  if (bestState !== null) {
    const restore = () => checked.runner.writeState(bestState);
    await attempt({ position, checkpoint }, "the best state could not be written to the device", restore);
  } else await finiteState(run);
  return {
    stopped: stopped ?? "epochs",
    steps: run.position.step,
    history: run.history,
    best: run.best,
    checkpoint: run.checkpoint,
  };
}

async function runEpoch(run: Run): Promise<StopReason | null> {
  const { options, plan, batches } = run;
  const { data, onStep, checkpoint, signal } = options;
  run.epochStart = run.generator.state();
  const stop = async (reason: StopReason): Promise<StopReason> => {
    await saveRun(run);
    return reason;
  };
  if (signal?.aborted) return stop("signal");
  const prepared = epochBatches(data, plan, run.generator.split(), run.position.batch)[Symbol.asyncIterator]();
  for (;;) {
    const next = await attempt(run, "the data failed", () => prepared.next());
    if (next.done === true) break;
    const event = await runStep(run, next.value);
    if ((await onStep?.(event)) === "stop") return stop("callback");
    if (signal?.aborted) return stop("signal");
    const { step, batch } = run.position;
    if (checkpoint?.everySteps !== undefined && step % checkpoint.everySteps === 0 && batch < batches)
      await saveRun(run);
  }
  return endEpoch(run);
}

async function runStep(run: Run, { indices, batch, generator }: PreparedBatch) {
  const { options, batches, position } = run;
  const { runner } = options;
  run.last = position;
  if (position.step === 0) checkLastBatch(run, batch);
  const extra = await options.feeds?.({ ...position, generator, samples: indices.length });
  const learningRate = learningRateAt(run);
  const feeds = {
    ...batch,
    ...extra,
    ...(learningRate === null ? {} : { learningRate: tensor("float32", [], [learningRate]) }),
    ...(closes(options) ? { closeWindow: tensor("bool", [], [closesWindow(run) ? 1 : 0]) } : {}),
  };
  const asked = run.outputs === undefined ? {} : { outputs: run.outputs };
  const outputs = await attempt(run, "the runtime failed", () => runner.run(feeds, asked));
  const loss = Number(outputs.loss!.data[0]);
  run.fed = [feeds, run.fed[0]];
  if (!Number.isFinite(loss)) throw await notFinite(run, `the loss was ${loss}`, await readState(run), position);
  const counted = options.countedBy === undefined ? indices.length : Number(outputs[options.countedBy]!.data[0]);
  addMetrics(run.sums, outputs, counted);
  run.collector.add(outputs, indices);
  run.seen += counted;
  run.learningRate = learningRate;
  run.position = { step: position.step + 1, epoch: position.epoch, batch: position.batch + 1 };
  return { ...position, batches, loss, learningRate, indices, outputs };
}

async function endEpoch(run: Run): Promise<StopReason | null> {
  const { options, position } = run;
  const { runner, earlyStop, checkpoint, onEpoch } = options;
  const { epoch, step } = position;
  const metrics = meanMetrics(run.sums, run.seen);
  const evaluation = { ...(await options.evaluate?.({ epoch, readState: () => runner.readState() })) };
  const record: EpochRecord = { epoch, steps: step, learningRate: run.learningRate, metrics, evaluation };
  run.history.push(record);
  const best = earlyStop === undefined || (await judge(run, record, earlyStop));
  run.stoppedEarly = earlyStop !== undefined && epoch - (run.best?.epoch ?? -1) >= earlyStop.patience;
  const collected = options.collect.length === 0 ? null : run.collector.result();

  // What follows is the next epoch's start.
  run.epochStart = run.generator.state();
  run.position = { step, epoch: epoch + 1, batch: 0 };
  run.sums = {};
  run.seen = 0;
  run.collector = makeCollector(options.collect, options.data.size);
  const last = run.stoppedEarly || epoch + 1 === options.epochs;
  const due = last || (epoch + 1) % (checkpoint?.everyEpochs ?? 1) === 0;
  if (due) await saveRun(run);
  const written = due && checkpoint !== undefined ? run.checkpoint : null;
  const answer = await onEpoch?.({ ...record, collected, best, checkpoint: written, notFinite: notFiniteIn(record) });
  if (run.stoppedEarly) return "earlyStop";
  if (answer !== "stop") return null;
  if (!due) await saveRun(run);
  return "callback";
}

/** Whether the epoch is the best so far, which one without a finite number never is; keeps its state if it is to be restored. */
async function judge(run: Run, record: EpochRecord, earlyStop: NonNullable<CheckedOptions["earlyStop"]>) {
  const { metric, direction = "min", minDelta = 0, restoreBest } = earlyStop;
  const value = record.evaluation[metric] ?? record.metrics[metric];
  if (value === undefined) {
    const known = Object.keys({ ...record.metrics, ...record.evaluation }).join(", ");
    throw new InputError(
      caller,
      "earlyStop.metric must be one of the epoch's numbers",
      `"${metric}"`,
      `There are ${known}.`,
    );
  }
  if (!Number.isFinite(value)) return false;
  const gain = run.best === null ? Infinity : direction === "min" ? run.best.value - value : value - run.best.value;
  if (!(gain > minDelta)) return false;
  run.best = { epoch: record.epoch, value };
  if (restoreBest) run.bestState = await readState(run);
  return true;
}

/** Updates that windows before the current one made: each epoch closes its last window, however short. */
function updatesBefore({ options: { accumulate = 1 }, position, batches }: Run): number {
  return position.epoch * Math.ceil(batches / accumulate) + Math.floor(position.batch / accumulate);
}

function closesWindow({ options: { accumulate = 1 }, position: { batch }, batches }: Run): boolean {
  return (batch + 1) % accumulate === 0 || batch + 1 === batches;
}

const closes = ({ runner: { program } }: CheckedOptions): boolean =>
  program.inputs.some(({ name }) => name === "closeWindow");

function learningRateAt(run: Run): number | null {
  const { options, position } = run;
  const { learningRate } = options;
  if (learningRate === undefined) return null;
  const rate = typeof learningRate === "number" ? learningRate : learningRate(updatesBefore(run));
  if (Number.isFinite(rate)) return rate;
  throw new InputError(caller, "the learning rate must be a finite number", `${rate} for step ${position.step}`);
}

function checkProgram(options: CheckedOptions): void {
  const {
    runner: { program },
    learningRate,
    collect = [],
    accumulate = 1,
    countedBy,
  } = options;
  const outputs = new Map(program.outputs.map(({ name, spec }) => [name, spec]));
  const loss = outputs.get("loss");
  if (loss === undefined || loss.shape.length > 0 || !floats.includes(loss.dtype)) {
    const actual =
      loss === undefined ? `outputs ${[...outputs.keys()].slice(0, 8).join(", ")}` : `[${loss.shape.join(", ")}]`;
    throw new InputError(caller, 'the program must give a float "loss" of shape []', actual);
  }
  for (const name of collect) {
    if ((outputs.get(name)?.shape.length ?? 0) > 0) continue;
    throw new InputError(caller, "collected outputs must be outputs of shape [n, ...]", `"${name}"`);
  }
  if (countedBy !== undefined && outputs.get(countedBy)?.shape.length !== 0) {
    throw new InputError(caller, "countedBy must be an output of shape []", `"${countedBy}"`);
  }
  if (accumulate > 1 && !closes(options)) {
    const fix = 'Give optimisers.accumulate\'s `close` that input: spec("bool", []).';
    throw new InputError(caller, "a program that accumulates needs the input closeWindow", "one without it", fix);
  }
  const takes = program.inputs.some(({ name }) => name === "learningRate");
  if (takes === (learningRate !== undefined)) return;
  const expectation = takes ? "a learning rate is needed: the program has that input" : "no learning rate is expected";
  throw new InputError(caller, expectation, takes ? "none" : "one for a program without the input learningRate");
}

/** A program for batches of one size must not meet a smaller one at the end of the epoch. */
function checkLastBatch({ options, plan }: Run, batch: Readonly<Record<string, Tensor>>): void {
  const { data, batchSize, runner } = options;
  const rest = data.size % batchSize;
  if (!plan.dropLast && (rest === 1 || batchSize === 1)) checkNormalised(runner.program, data.size, batchSize);
  const fixed = runner.program.inputs.find(({ name, spec }) => name in batch && typeof spec.shape[0] === "number");
  if (plan.dropLast || rest === 0 || fixed === undefined) return;
  const fix = 'Pass dropLast: true, or trace the program with a symbol: spec("float32", ["n", …]).';
  const expectation = `input "${fixed.name}" takes batches of ${String(fixed.spec.shape[0])} only`;
  throw new InputError(caller, expectation, `a last batch of ${rest}`, fix);
}

/** Batch norm over [n, c] of one sample has nothing to normalise by: its output is a constant, its variance undefined. */
function checkNormalised({ nodes, values }: Runner["program"], size: number, batchSize: number): void {
  const alone = nodes.some(({ operator, inputs: [x] }) => {
    if (operator.name !== "batchNormTraining") return false;
    const [n, , ...space] = values[x!]!.shape;
    return typeof n === "string" && space.every((dimension) => dimension === 1);
  });
  if (!alone) return;
  const fix = "Pass dropLast: true, or another batchSize.";
  const actual = `${size} samples in batches of ${batchSize}`;
  throw new InputError(caller, "batch norm needs more than one sample in every batch", actual, fix);
}
