import { InputError } from "../errors.ts";
import { nameProblems } from "../layers/parameters.ts";
import { type Generator, generator } from "../random.ts";
import type { Tensor } from "../tensor.ts";
import { batchCount, type EpochPlan } from "./batches.ts";
import { type Checkpoint, listCheckpoints, readCheckpoint, saveCheckpoint } from "./checkpoint.ts";
import { type Collected, type Collector, makeCollector } from "./collect.ts";
import { attempt, firstNotFinite, TrainingError } from "./failure.ts";
import { checkIdentity, identityOf } from "./identity.ts";
import type { CheckedOptions } from "./options.ts";
import { type EpochRecord, type Identity, type Position, type Progress, progressSchema } from "./progress.ts";

const caller = "core-gpu.training.train";

type Feeds = Readonly<Record<string, Tensor>> | undefined;

/** A run under way: what a checkpoint keeps, and what is made of it. */
export interface Run {
  readonly options: CheckedOptions;
  readonly plan: EpochPlan;
  /** Null where nothing is saved. */
  readonly identity: Identity | null;
  /** Outputs to compute in each step; undefined for all. What nobody looks at need not be copied out. */
  readonly outputs: readonly string[] | undefined;
  /** Batches in an epoch. */
  readonly batches: number;
  /** Goes on from one epoch to the next. */
  readonly generator: Generator;
  /** The generator's state when the epoch began. */
  epochStart: readonly number[];
  position: Position;
  /** What the last two steps were fed, the last first. */
  fed: readonly [Feeds, Feeds];
  /** The position of the last step that was begun. */
  last: Position;
  seen: number;
  sums: Record<string, number>;
  learningRate: number | null;
  collector: Collector;
  readonly history: EpochRecord[];
  best: { readonly epoch: number; readonly value: number } | null;
  bestState: Readonly<Record<string, Tensor>> | null;
  stoppedEarly: boolean;
  checkpoint: string | null;
}

/** Starts a run, or takes it up from the newest checkpoint, after checking that it is a run of the same kind. */
export async function startRun(options: CheckedOptions): Promise<Run> {
  const { data, batchSize, dropLast, shuffle, prefetch, collect } = options;
  const plan = { batchSize, dropLast, shuffle, prefetch };
  const batches = batchCount(data.size, plan);
  if (batches === 0) {
    const fix = "Take smaller batches, or dropLast: false.";
    throw new InputError(caller, "an epoch must have a batch", `${data.size} samples in batches of ${batchSize}`, fix);
  }
  const outputs = options.onStep === undefined ? await outputsNeeded(options) : undefined;
  const found = await checkpointToResume(options);
  const identity = options.checkpoint === undefined ? null : await identityOf(options);
  if (found === null) {
    return {
      options,
      plan,
      identity,
      outputs,
      batches,
      generator: options.generator,
      epochStart: options.generator.state(),
      position: { step: 0, epoch: 0, batch: 0 },
      fed: [undefined, undefined],
      last: { step: 0, epoch: 0, batch: 0 },
      seen: 0,
      sums: {},
      learningRate: null,
      collector: makeCollector(collect, data.size),
      history: [],
      best: null,
      bestState: null,
      stoppedEarly: false,
      checkpoint: null,
    };
  }
  const progress = checkedProgress(found);
  checkSamePlan(found.path, progress, { size: data.size, batchSize, dropLast, shuffle });
  checkCollected(found, progress, collect);
  await checkNames(options, found);
  if (progress.identity !== undefined && identity !== null)
    checkIdentity(caller, found.path, progress.identity, identity, options.resumeWithOther ?? []);
  await options.runner.writeState(found.tensors.state!);
  return {
    options,
    plan,
    identity,
    outputs,
    batches,
    generator: generator(progress.generator),
    epochStart: progress.generator,
    position: progress.position,
    fed: [undefined, undefined],
    last: progress.position,
    seen: progress.seen,
    sums: { ...progress.sums },
    learningRate: progress.learningRate,
    collector: makeCollector(collect, data.size, progress.position.batch === 0 ? undefined : collectedOf(found)),
    history: [...progress.history],
    best: progress.best,
    bestState: found.tensors.best ?? null,
    stoppedEarly: progress.stoppedEarly,
    checkpoint: found.path,
  };
}

/**
 * Writes a checkpoint of where the run stands.
 *
 * @throws TrainingError where the state is not finite, which is not worth keeping, or cannot be read.
 */
export async function saveRun(run: Run): Promise<void> {
  const { options, position } = run;
  if (options.checkpoint === undefined) return;
  const state = await finiteState(run);
  const { size } = options.data;
  const { batchSize, dropLast, shuffle } = run.plan;
  const progress: Progress = {
    position,
    generator: [...run.epochStart],
    plan: { size, batchSize, dropLast, shuffle },
    ...(run.identity === null ? {} : { identity: run.identity }),
    seen: run.seen,
    sums: run.sums,
    learningRate: run.learningRate,
    history: run.history.map((record) => ({
      ...record,
      metrics: { ...record.metrics },
      evaluation: { ...record.evaluation },
    })),
    best: run.best,
    stoppedEarly: run.stoppedEarly,
  };
  const { outputs, seen } = run.collector.result();
  const tensors = {
    state,
    ...(run.bestState === null ? {} : { best: run.bestState }),
    ...(options.collect.length === 0 ? {} : { collected: { ...named("outputs.", outputs), seen } }),
  };
  run.checkpoint = await saveCheckpoint(
    options.checkpoint.folder,
    { step: position.step, tensors, progress },
    options.checkpoint.keep,
  );
}

/** The state after the last step. @throws TrainingError where it is not finite, or the device no longer gives it. */
export async function finiteState(run: Run): Promise<Record<string, Tensor>> {
  const state = await readState(run);
  if (firstNotFinite(state) === null) return state;
  throw await notFinite(run, "a parameter became NaN or infinite", state, run.last);
}

/** The error of a step that gave what is no number, with the operator that did if the runner still knows what it was fed. */
export async function notFinite(
  { options: { runner }, fed, checkpoint }: Run,
  what: string,
  state: Readonly<Record<string, Tensor>>,
  position: Position,
): Promise<TrainingError> {
  const details = { parameter: firstNotFinite(state), checkpoint };
  // A gradient that is NaN shows in the next step's loss: the fault may lie in the step before.
  const search = async (): Promise<string | null> => {
    for (const ago of [1, 0] as const) {
      const feeds = fed[ago];
      const found = feeds === undefined ? null : await runner.firstNotFinite?.(feeds, ago);
      if (found != null) return ago === 0 ? found : `${found}, a step before`;
    }
    return null;
  };
  // What is told about the failure must not hide it.
  const source = await search().catch(() => null);
  return new TrainingError(what, position, { ...details, source });
}

/** Scalars, for their means, and what is to be collected. */
async function outputsNeeded({ runner, collect = [] }: CheckedOptions): Promise<readonly string[]> {
  const state = await runner.readState();
  const results = runner.program.outputs.filter(({ name }) => !(name in state));
  return results.filter(({ name, spec }) => spec.shape.length === 0 || collect.includes(name)).map(({ name }) => name);
}

/** The state after the last step. @throws TrainingError where the device no longer gives it. */
export function readState({ options, last, checkpoint }: Run): Promise<Record<string, Tensor>> {
  const read = () => options.runner.readState();
  return attempt({ position: last, checkpoint }, "the state could not be read from the device", read);
}

async function checkpointToResume({ checkpoint, resume }: CheckedOptions): Promise<Checkpoint | null> {
  if (checkpoint === undefined) {
    if (!resume) return null;
    throw new InputError(caller, "resume needs a checkpoint folder", "none", "Pass checkpoint: { folder }.");
  }
  const newest = (await listCheckpoints(checkpoint.folder)).at(-1);
  if (newest === undefined) return null;
  if (resume) return readCheckpoint(newest);
  const fix = "Pass resume: true to go on from it, or another folder.";
  throw new InputError(caller, "the folder of a new run must hold no checkpoints", newest, fix);
}

function checkedProgress({ path, progress }: Checkpoint): Progress {
  const parsed = progressSchema.safeParse(progress);
  if (parsed.success) return parsed.data;
  throw new InputError(caller, `${path} must be a checkpoint of train`, "one that says other things about its run");
}

function checkSamePlan(path: string, { plan }: Progress, now: Progress["plan"]): void {
  const changed = (Object.keys(now) as (keyof typeof now)[]).filter((key) => now[key] !== plan[key]);
  if (changed.length === 0) return;
  const actual = changed.map((key) => `${key} ${now[key]} instead of ${plan[key]}`).join(", ");
  const fix =
    "With other batches it would be another run: start it in another folder, from the checkpoint's parameters.";
  throw new InputError(caller, `a run resumed from ${path} must have its data and batches`, actual, fix);
}

/** Within an epoch other outputs cannot be asked for: those of its first batches are gone. */
function checkCollected({ path, tensors }: Checkpoint, { position }: Progress, collect: readonly string[]): void {
  const kept = Object.keys(collectedOf({ tensors })?.outputs ?? {});
  if (position.batch === 0 || (kept.length === collect.length && collect.every((name) => kept.includes(name)))) return;
  const actual = `${listed(collect)} instead of ${listed(kept)}`;
  throw new InputError(caller, `a run resumed from ${path} must collect the same outputs`, actual);
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "none" : names.join(", ");
}

async function checkNames({ runner }: CheckedOptions, { path, tensors }: Checkpoint): Promise<void> {
  const current = await runner.readState();
  const problems = nameProblems(new Map(Object.entries(current)), tensors.state ?? {});
  if (problems !== null) throw new InputError(caller, `${path} must be a checkpoint of this program`, problems);
}

function collectedOf({ tensors: { collected } }: Pick<Checkpoint, "tensors">): Collected | undefined {
  if (collected === undefined) return undefined;
  const { seen, ...outputs } = collected;
  const names = Object.entries(outputs).map(([name, tensor]) => [name.slice("outputs.".length), tensor]);
  return { seen: seen as Tensor<"bool">, outputs: Object.fromEntries(names) };
}

function named(prefix: string, tensors: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [prefix + name, tensor]));
}
