import type { ProgramToModelOptions } from "../program/to-model.ts";
import type { Program } from "../program/trace.ts";
import type { Tree, TreeRecord } from "../program/tree.ts";
import type { RuntimeTensor, Tensor } from "../tensor.ts";
import type { LoadOptions, RunOptions } from "./device.ts";

/** How a program is compiled for a device, and which of its inputs stay there between runs. */
export interface CompileOptions {
  /**
   * What stays with the device: every input whose name is one of these or begins with one and a dot (`"params"` stands for
   * `params.conv.weight`). The output of the same name is its value in the next run; without such an output it never
   * changes. Default: none.
   */
  readonly state?: readonly string[];
  /** First values of the state, some or all of it: a tree, or a flat record of paths. Copied. */
  readonly initial?: TreeRecord<Tensor>;
  /** Tensors for inputs that become part of the compiled program; see {@link ProgramToModelOptions.constants}. */
  readonly constants?: { readonly [name: string]: Tree<Tensor> };
  /** Version of the ONNX operator set, 7 to 26; default that of `programToModel`. */
  readonly opset?: NonNullable<ProgramToModelOptions["opset"]>;
  /**
   * Several steps in one run: every feed then has a first dimension of 1 to that many steps before its own, every result
   * the same, and the state goes from step to step inside the runtime (an ONNX Loop). For devices between which and the
   * host the state would otherwise travel at each run (cuda); on others it gains little. Default: one step, without that
   * dimension.
   */
  readonly stepsPerRun?: number;
  /** How ONNX Runtime loads it. */
  readonly load?: LoadOptions;
}

/**
 * A compiled program and its state, which stays with the device: no copy per run where the device allows. Must be
 * released, or closed with its device. Calls that are started together run one after the other.
 */
export interface Runner {
  readonly program: Program<unknown, unknown>;
  /**
   * Runs the program once. The state then has the values that the outputs of its names gave; where the run fails it keeps
   * those it had.
   *
   * @param feeds One tensor for every input that is not state, by name; ONNX Runtime's own will do.
   * @returns One tensor for every output that is not state, by name; only those of `options.outputs` if given.
   * @throws InputError on a missing or unknown name, a dtype or shape that is not the input's, one symbol with two sizes,
   * state without a value, a released runner, or when the run fails (the runtime's message is quoted).
   */
  run(feeds: Readonly<Record<string, Tensor | RuntimeTensor>>, options?: RunOptions): Promise<Record<string, Tensor>>;
  /** A copy of the state by name (`params.conv.weight`). @throws InputError where some has no value yet. */
  readState(): Promise<Record<string, Tensor>>;
  /** Replaces some or all of the state, given as a tree or a flat record of paths. Copies. @throws InputError as `run`. */
  writeState(state: TreeRecord<Tensor>): Promise<void>;
  /**
   * For a run that gave NaN or infinity: names the operator that first made such from finite numbers, `ops.sqrt of -1 to 3`,
   * by running the last run (`ago` 0) or the one before it (1) again with all that lies between the operators.
   *
   * @param feeds What that run was fed.
   * @returns Null where all was finite, or the device no longer has the state that run began with (as graphics cards).
   */
  firstNotFinite?(feeds: Readonly<Record<string, Tensor>>, ago: 0 | 1): Promise<string | null>;
  /** Frees what the program and its state take. Releasing twice is allowed. */
  release(): Promise<void>;
}
