import { asTensor, InputError, type RuntimeTensor, type Tensor } from "@exitkit/core-gpu";

/** Hidden states of a decoder at one tap for windows of text, and what is known of the tokens. */
export interface StatesBatch {
  /** float32 `[n, t, d]`: the state of every token position. */
  readonly states: Tensor<"float32">;
  /** `[n · t]` row by row: the token at every position, 0 … v − 1. */
  readonly tokens: ArrayLike<number>;
  /** float32 `[n, t, d′]`: the last state after the final norm, what the model's own head reads. Needed for cross sums. */
  readonly last?: Tensor<"float32">;
  /** `[n · t]`: 0 where the position is padding. Default: none is. */
  readonly mask?: ArrayLike<number>;
}

/** A {@link StatesBatch} in other forms: tensors of ONNX Runtime with their data on the CPU, tokens and mask as integer tensors. */
export interface RuntimeStates {
  readonly states: Tensor | RuntimeTensor;
  readonly tokens: ArrayLike<number | bigint> | Tensor | RuntimeTensor;
  readonly last?: Tensor | RuntimeTensor;
  readonly mask?: ArrayLike<number | bigint> | Tensor | RuntimeTensor;
}

/** Batches of states, from anywhere. */
export type StatesBatches = Iterable<StatesBatch | RuntimeStates> | AsyncIterable<StatesBatch | RuntimeStates>;

/** A batch in our own form; what is no tensor and no list is left as it is, to be refused by {@link checkStates}. */
export function plainStates(given: StatesBatch | RuntimeStates): StatesBatch {
  const { states, tokens, last, mask } = given ?? {};
  return {
    states: asTensor(states as Tensor) as Tensor<"float32">,
    tokens: numbersOf(tokens)!,
    ...(last === undefined ? {} : { last: asTensor(last) as Tensor<"float32"> }),
    ...(mask === undefined ? {} : { mask: numbersOf(mask)! }),
  };
}

/** The elements of a tensor; of a list itself. They may be bigints: `Number` reads both. */
function numbersOf(value: RuntimeStates["mask"]): ArrayLike<number> | undefined {
  const tensor = asTensor(value as Tensor);
  return (tensor?.data === undefined ? value : tensor.data) as ArrayLike<number> | undefined;
}

/** n, t and d of a batch's states. @throws InputError unless states, tokens, last and mask fit one another. */
export function checkStates(
  caller: string,
  batch: StatesBatch,
  wanted: { readonly vocabulary: number; readonly features?: number | undefined; readonly last: number | null },
): { readonly n: number; readonly t: number; readonly d: number } {
  const { states, tokens, last, mask } = batch ?? {};
  const shape = states?.shape ?? [];
  const [n, t, d] = shape as [number, number, number];
  if (states?.dtype !== "float32" || shape.length !== 3 || (wanted.features !== undefined && d !== wanted.features)) {
    const expectation = `states must be float32 [n, t, ${wanted.features ?? "d"}]`;
    throw new InputError(caller, expectation, states === undefined ? "none" : printed(states));
  }
  const positions = n * t;
  for (const [name, given] of [
    ["tokens", tokens],
    ["mask", mask],
  ] as const) {
    if (name === "mask" && given === undefined) continue;
    if (given?.length === positions) continue;
    throw new InputError(caller, `${name} must have n · t = ${positions} numbers`, `${given?.length ?? "none"}`);
  }
  for (let at = 0; at < positions; at++) {
    const token = Number(tokens[at]);
    if (Number.isInteger(token) && token >= 0 && token < wanted.vocabulary) continue;
    const expectation = `tokens must be 0 … ${wanted.vocabulary - 1}, the vocabulary's`;
    const fix = "Use the tokenizer that belongs to the model.";
    throw new InputError(caller, expectation, `${tokens[at]} at position ${at}`, fix);
  }
  if (wanted.last !== null) checkLast(caller, last, n, t, wanted.last);
  return { n, t, d };
}

function checkLast(caller: string, last: Tensor | undefined, n: number, t: number, d: number): void {
  const [rows, positions, width] = last?.shape ?? [];
  if (last?.dtype === "float32" && rows === n && positions === t && (d === 0 || width === d)) return;
  const expectation = `last must be float32 [${n}, ${t}, ${d === 0 ? "d′" : d}], the last state after the final norm`;
  throw new InputError(caller, expectation, last === undefined ? "none" : printed(last));
}

function printed({ dtype, shape }: Tensor): string {
  return `${dtype} [${shape.join(", ")}]`;
}
