/** Space that does not break, between a number and its unit. */
const SPACE = "\u00a0";
const MINUS = "\u2212";

/** 0.7234 → "72 %"; `digits` after the point. */
export function percent(fraction: number, digits = 0): string {
  return `${decimal(fraction * 100, digits)}${SPACE}%`;
}

/** 0.005 → "0.5 points": a difference of two accuracies. */
export function points(fraction: number): string {
  const small = rounded(fraction * 100, 1) === 0 && rounded(fraction * 100, 2) !== 0;
  const text = decimal(fraction * 100, small ? 2 : 1);
  return `${text}${SPACE}${text === "1.0" ? "point" : "points"}`;
}

/** With a real minus sign and no negative zero. */
export function decimal(value: number, digits: number): string {
  if (!Number.isFinite(value)) return "–";
  return Math.abs(rounded(value, digits))
    .toFixed(digits)
    .replace(/^/, rounded(value, digits) < 0 ? MINUS : "");
}

/** 10000 → "10,000". */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** 126_300_000 → "126 million". */
export function large(value: number): string {
  if (value >= 1e9) return `${three(value / 1e9)} billion`;
  if (value >= 1e6) return `${three(value / 1e6)} million`;
  return count(value);
}

/** Milliseconds with three significant digits. */
export function milliseconds(value: number): string {
  return `${three(value)}${SPACE}ms`;
}

function three(value: number): string {
  const whole = Math.max(1, Math.floor(Math.log10(Math.abs(value) || 1)) + 1);
  return value >= 1000 ? count(value) : decimal(value, Math.max(0, 3 - whole));
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** 0.58 → "0.580 ×": a fraction of something plain. */
export function times(value: number): string {
  return `${decimal(value, 3)}${SPACE}×`;
}

/** 0.9339 → "93.39 %": an accuracy in a table. */
export function exact(fraction: number): string {
  return percent(fraction, 2);
}

/** For table columns: numbers with so many digits. */
export function digits(count: number): (value: number) => string {
  return (value) => decimal(value, count);
}

/** 12.3 → "12 s". */
export function seconds(value: number): string {
  return `${count(value)}${SPACE}s`;
}

/** A mean of fractions and its deviation: "56.12 % ± 1.20", the latter in points; of a single value the value. */
export function spreadWords(
  { mean, deviation }: { readonly mean: number; readonly deviation?: number | undefined },
  digits = 2,
): string {
  return `${percent(mean, digits)}${deviation === undefined ? "" : ` ± ${decimal(100 * deviation, digits)}`}`;
}

/** 0.0123 → "+1.23": a change of accuracy, in points. */
export function signed(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? MINUS : "±"}${Math.abs(100 * value).toFixed(2)}`;
}
