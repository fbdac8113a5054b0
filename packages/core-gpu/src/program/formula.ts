/** Arithmetic in which a dimension's formula is worked out: numbers, or nodes of a graph. */
export interface FormulaArithmetic<T> {
  /** The size of a symbol of an input. */
  symbol(name: string): T;
  number(value: number): T;
  add(a: T, b: T): T;
  subtract(a: T, b: T): T;
  multiply(a: T, b: T): T;
  /** `floor(a ÷ b)` or `ceil(a ÷ b)`, exactly. */
  divide(a: T, b: T, rounding: "floor" | "ceil"): T;
}

/** Works out a dimension written as a formula: sums, products, and floor and ceil of quotients (see {@link Dimension}). */
export function evaluateFormula<T>(formula: string, arithmetic: FormulaArithmetic<T>): T {
  const tokens = formula.match(/[A-Za-z_]\w*|\d+|\S/g) ?? [];
  let at = 0;
  const take = (token: string): boolean => {
    const found = tokens[at] === token;
    if (found) at++;
    return found;
  };
  const expect = (token: string): void => {
    if (!take(token)) throw new Error(`the dimension "${formula}" has no "${token}" at its part ${at + 1}`);
  };
  const sum = (): T => {
    let value = product();
    for (;;) {
      if (take("+")) value = arithmetic.add(value, product());
      else if (take("-")) value = arithmetic.subtract(value, product());
      else return value;
    }
  };
  const product = (): T => {
    let value = factor();
    while (take("*")) value = arithmetic.multiply(value, factor());
    return value;
  };
  const factor = (): T => {
    const token = tokens[at++] ?? "";
    if ((token === "floor" || token === "ceil") && take("(")) {
      const dividend = sum();
      expect("/");
      const quotient = arithmetic.divide(dividend, factor(), token);
      expect(")");
      return quotient;
    }
    if (token === "(") {
      const value = sum();
      expect(")");
      return value;
    }
    if (/^\d+$/.test(token)) return arithmetic.number(Number(token));
    if (/^[A-Za-z_]/.test(token)) return arithmetic.symbol(token);
    throw new Error(`the dimension "${formula}" has "${token}" at its part ${at}`);
  };
  const value = sum();
  if (at < tokens.length) throw new Error(`the dimension "${formula}" goes on after its part ${at}`);
  return value;
}
