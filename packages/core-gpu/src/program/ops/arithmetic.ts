import type { Operator } from "../operator.ts";
import { operators as elementary } from "./elementary.ts";
import { operators as pairs } from "./pairs.ts";
import { operators as rounding } from "./rounding.ts";

export { cos, erf, exp, log, pow, sin, sqrt } from "./elementary.ts";
export { abs, add, div, maximum, minimum, mul, neg, sign, square, sub } from "./pairs.ts";
export { ceil, clip, floor, round, roundStraightThrough } from "./rounding.ts";

/** Arithmetic of single elements, as one family. */
export const operators: readonly Operator[] = [...pairs, ...elementary, ...rounding];
