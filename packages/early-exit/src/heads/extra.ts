import { InputError, ops, type Value } from "@exitkit/core-gpu";
import { z } from "zod";

/** Further inputs of a head's linear layer, computed from the same features. */
export interface Extra {
  /** How many, d′. */
  readonly size: number;
  /**
   * Computes them, [n, d′], from the features [n, ...]; traced with the network. No gradient flows through it.
   *
   * Source: E²CM + SDN feeds the k distances of an exit to its class means to the linear layer of the internal classifier
   * [D: where they enter, and how they are scaled]. Differs: the script takes them as another input of the network [S]; here
   * they are part of the graph, so that they cost what they cost.
   */
  readonly of: (features: Value) => Value;
}

export const extraSchema = z.strictObject({
  size: z.int().min(1),
  of: z.custom<Extra["of"]>((value) => typeof value === "function", "must be a function of the features"),
});

/** [n, d] with the extra inputs behind them, [n, d + d′]. @throws InputError where they are not [n, d′]. */
export function withExtra(caller: string, flat: Value, features: Value, extra: Extra | undefined): Value {
  if (extra === undefined) return flat;
  const added = ops.stopGradient(extra.of(features));
  const [n, size] = added.shape;
  if (added.shape.length !== 2 || n !== features.shape[0] || size !== extra.size) {
    const expectation = `extra.of must give [${features.shape[0]}, ${extra.size}], as extra.size says`;
    throw new InputError(caller, expectation, `[${added.shape.join(", ")}]`);
  }
  return ops.concat([flat, added], 1);
}
