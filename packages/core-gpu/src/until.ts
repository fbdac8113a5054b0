import { checkArguments } from "./arguments.ts";

/**
 * A stream that ends with the signal's reason where it is aborted: before the first element, and before and after each. The stream it
 * reads is closed then, as it is where the reader stops.
 *
 * @param signal Default: never.
 * @throws The signal's reason, from the stream; InputError on what is no stream.
 * @example
 * ```ts
 * import { until } from "@exitkit/core-gpu";
 * const stop = new AbortController();
 * const seen: number[] = [];
 * const reading = (async () => {
 *   for await (const number of until(stop.signal, [1, 2, 3])) {
 *     seen.push(number);
 *     stop.abort();
 *   }
 * })();
 * await reading.catch(({ name }) => console.assert(name === "AbortError" && seen.length === 1));
 * ```
 */
export function until<T>(
  signal: AbortSignal | undefined,
  stream: AsyncIterable<T> | Iterable<T>,
): AsyncGenerator<T, void, undefined> {
  checkArguments("core-gpu.until", { stream: [stream, "an iterable"] });
  return ended(signal, stream);
}

async function* ended<T>(
  signal: AbortSignal | undefined,
  stream: AsyncIterable<T> | Iterable<T>,
): AsyncGenerator<T, void, undefined> {
  signal?.throwIfAborted();
  for await (const element of stream) {
    signal?.throwIfAborted();
    yield element;
    signal?.throwIfAborted();
  }
}
