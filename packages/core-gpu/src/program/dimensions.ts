/**
 * One dimension of a shape: a size, or a symbol for a size known only when the program runs (`"n"`). A symbol equals
 * only itself. Sizes derived from symbols are symbols too, written as a formula: `"n*t"`, `"(floor((h-1)/2)+1)"`.
 */
export type Dimension = number | string;

/** A shape whose dimensions may be symbolic. `[]` is a scalar. */
export type Shape = readonly Dimension[];

/** `[n, 3, 32, 32]` */
export function printShape(shape: Shape): string {
  return `[${shape.join(", ")}]`;
}

/** Whether two shapes have the same rank, sizes and symbols. */
export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dimension, axis) => dimension === b[axis]);
}

/** The shape two operands broadcast to by the rules of NumPy, or null where they do not. A symbol is taken to be > 1. */
export function broadcastShapes(a: Shape, b: Shape): Shape | null {
  const rank = Math.max(a.length, b.length);
  const result: Dimension[] = [];
  for (let axis = 0; axis < rank; axis++) {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) return null;
    result.push(left === 1 ? right : left);
  }
  return result;
}

/** Sum of dimensions and whole numbers, as a number where all are numbers. */
export function addDimensions(...dimensions: readonly Dimension[]): Dimension {
  let constant = 0;
  const symbols: string[] = [];
  for (const dimension of dimensions) {
    for (const term of termsOf(dimension)) {
      if (typeof term === "number") constant += term;
      else symbols.push(term);
    }
  }
  if (symbols.length === 0) return constant;
  if (symbols.length === 1 && constant === 0) return symbols[0]!;
  const tail = constant === 0 ? "" : constant > 0 ? `+${constant}` : String(constant);
  return `(${symbols.sort().join("+")}${tail})`;
}

/** Product of dimensions, as a number where all are numbers. */
export function multiplyDimensions(dimensions: Shape): Dimension {
  return printProduct(productOf(dimensions));
}

/** `whole ÷ part` of two products of dimensions, or null where it is not known to be a whole number. */
export function divideShapes(whole: Shape, part: Shape): Dimension | null {
  const numerator = productOf(whole);
  const denominator = productOf(part);
  const symbols = [...numerator.symbols];
  for (const symbol of denominator.symbols) {
    const at = symbols.indexOf(symbol);
    if (at < 0) return null;
    symbols.splice(at, 1);
  }
  if (denominator.size === 0 || numerator.size % denominator.size !== 0) return null;
  return printProduct({ size: numerator.size / denominator.size, symbols });
}

/** `floor(dimension ÷ divisor)`, or `ceil` of it. */
export function divideDimension(
  dimension: Dimension,
  divisor: number,
  rounding: "floor" | "ceil" = "floor",
): Dimension {
  if (typeof dimension === "number") return Math[rounding](dimension / divisor);
  return divisor === 1 ? dimension : `${rounding}(${dimension}/${divisor})`;
}

interface Product {
  readonly size: number;
  readonly symbols: readonly string[];
}

function productOf(dimensions: Shape): Product {
  let size = 1;
  const symbols: string[] = [];
  for (const dimension of dimensions) {
    if (typeof dimension === "number") size *= dimension;
    else {
      for (const factor of splitTopLevel(dimension, "*")) {
        const number = Number(factor);
        if (Number.isInteger(number)) size *= number;
        else symbols.push(factor);
      }
    }
  }
  return { size, symbols: symbols.sort() };
}

function printProduct({ size, symbols }: Product): Dimension {
  if (symbols.length === 0 || size === 0) return size;
  return [...(size === 1 ? [] : [String(size)]), ...symbols].join("*");
}

/** What a dimension is the sum of: symbols and whole numbers; itself where it is no sum. */
export function termsOf(dimension: Dimension): readonly Dimension[] {
  if (typeof dimension === "number") return [dimension];
  if (!isWrapped(dimension)) return [dimension];
  return splitTopLevel(dimension.slice(1, -1).replace(/([^(/*])-(?=\d+$)/, "$1+-"), "+").map((term) => {
    const number = Number(term);
    return Number.isInteger(number) ? number : term;
  });
}

function isWrapped(text: string): boolean {
  if (!text.startsWith("(")) return false;
  let depth = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")" && --depth === 0) return at === text.length - 1;
  }
  return false;
}

function splitTopLevel(text: string, separator: string): string[] {
  const parts: string[] = [];
  let depth = 0;
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "(") depth++;
    else if (text[at] === ")") depth--;
    else if (depth === 0 && text[at] === separator) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  return [...parts, text.slice(from)];
}
