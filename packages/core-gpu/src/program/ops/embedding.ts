import type { Tensor } from "../../tensor.ts";
import type { Operand, Value } from "../value.ts";
import { gather } from "./select.ts";

/**
 * A row of the table for each token: table [v, d], tokens (int32 or int64, 0 … v − 1) [...] → [..., d]. Its gradient adds
 * up the rows of tokens that occur several times (on the CPU in the same order each time). PyTorch's `embedding`. ONNX
 * Gather.
 */
export function embedding(table: Operand, tokens: Value | Tensor): Value {
  return gather(table, tokens);
}
