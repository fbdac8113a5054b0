import type * as ort from "onnxruntime-node";
import type { Tensor } from "../tensor.ts";

/** Where the state of a compiled program lies between runs. */
export interface Residence {
  /**
   * Whether the runtime binds outputs, as it does to keep some on a card: then every run must ask for all of them, and it
   * does not write into given tensors.
   */
  readonly bound: boolean;
  has(name: string): boolean;
  /** The runtime's tensors of the state, by the model's input names; valid until the next call. */
  feeds(): Promise<Readonly<Record<string, ort.Tensor>>>;
  /** What the next state is to be written into, by the model's output names; null lets the runtime make a tensor. */
  fetches(): Readonly<Record<string, ort.Tensor | null>>;
  /** After a run that worked: takes its outputs as the state. */
  commit(outputs: Readonly<Record<string, ort.Tensor>>): void;
  /**
   * Copies of what the last run read (`ago` 0), or the one before it (1), for as long as it is there; null where it is not.
   */
  before(ago: 0 | 1): Readonly<Record<string, Tensor>> | null;
  /** Copies. */
  read(): Promise<Record<string, Tensor>>;
  /** Copies. */
  write(state: ReadonlyMap<string, Tensor>): void;
  release(): Promise<void>;
}
