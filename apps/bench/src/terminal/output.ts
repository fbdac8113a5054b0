/** A stream to print on, as far as it is used here; `isTTY` decides between a bar and plain lines. */
export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Letters in a line of a terminal. */
  readonly columns?: number | undefined;
}
