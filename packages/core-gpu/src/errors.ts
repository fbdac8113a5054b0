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
      `${caller}: ${expectation}; got ${actual}.${fix === undefined ? "" : ` ${fix}`}`,
      cause === undefined ? undefined : { cause },
    );
    this.caller = caller;
  }
}
