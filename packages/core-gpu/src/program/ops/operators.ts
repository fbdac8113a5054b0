import type { Operator } from "../operator.ts";
import { operators as activation } from "./activation.ts";
import { operators as arithmetic } from "./arithmetic.ts";
import { operators as attention } from "./attention.ts";
import { operators as batchNorm } from "./batch-norm.ts";
import { operators as conv } from "./conv.ts";
import { operators as convGradient } from "./conv-gradient.ts";
import { operators as convTranspose } from "./conv-transpose.ts";
import { operators as cumSum } from "./cum-sum.ts";
import { operators as join } from "./join.ts";
import { operators as linear } from "./linear.ts";
import { operators as logic } from "./logic.ts";
import { operators as loss } from "./loss.ts";
import { operators as manyAxes } from "./many-axes.ts";
import { operators as maxPoolGradient } from "./max-pool-gradient.ts";
import { operators as normalise } from "./normalise.ts";
import { operators as pad } from "./pad.ts";
import { operators as pool } from "./pool.ts";
import { operators as reduce } from "./reduce.ts";
import { operators as resize } from "./resize.ts";
import { operators as scatter } from "./scatter.ts";
import { operators as select } from "./select.ts";
import { operators as shape } from "./shape.ts";

/** Every operator there is, so that tests can demand of each what all must have. */
export const operators: readonly Operator[] = [
  arithmetic,
  activation,
  logic,
  linear,
  conv,
  convGradient,
  convTranspose,
  pool,
  maxPoolGradient,
  batchNorm,
  loss,
  normalise,
  attention,
  reduce,
  shape,
  join,
  pad,
  resize,
  scatter,
  manyAxes,
  cumSum,
  select,
].flat();
