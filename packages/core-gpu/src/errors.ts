/** A text of the caller's or of a file's for a message: at most `length` characters of it. */
export function clipped(text: string, length = 200): string {
  return text.length > length ? `${text.slice(0, length)}... (${text.length} characters)` : text;
}

/**
 * An error about something the caller handed in: a wrong shape, a missing file, an unknown option.
 * The message reads `caller: expectation; got actual. Fix.`; nothing was computed or written when it is thrown.
 */
export class InputError extends Error {
  override readonly name = "InputError";
  /** The public function that refused, e.g. `core-gpu.readSafetensors`. */
  readonly caller: string;

  constructor(caller: string, expectation: string, actual: string, fix?: string, cause?: unknown) {
    super(
      `${caller}: ${clipped(expectation, 2000)}; got ${clipped(actual, 1000)}.${fix === undefined ? "" : ` ${fix}`}`,
      cause === undefined ? undefined : { cause },
    );
    this.caller = caller;
  }
}
