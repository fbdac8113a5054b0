import type { Kernels } from "../kernel.ts";
import { kernels as activation } from "./activation.ts";
import { kernels as arithmetic } from "./arithmetic.ts";
import { kernels as attention } from "./attention.ts";
import { kernels as conv } from "./conv.ts";
import { kernels as convGradient } from "./conv-gradient.ts";
import { kernels as linear } from "./linear.ts";
import { kernels as logic } from "./logic.ts";
import { kernels as loss } from "./loss.ts";
import { kernels as manyAxes } from "./many-axes.ts";
import { kernels as normalise } from "./normalise.ts";
import { kernels as pool } from "./pool.ts";
import { kernels as reduce } from "./reduce.ts";
import { kernels as resize } from "./resize.ts";
import { kernels as scatter } from "./scatter.ts";
import { kernels as select } from "./select.ts";
import { kernels as shape } from "./shape.ts";

/** How tfjs computes each operator. */
export const kernels: Kernels = {
  ...arithmetic,
  ...activation,
  ...logic,
  ...attention,
  ...linear,
  ...conv,
  ...convGradient,
  ...pool,
  ...normalise,
  ...reduce,
  ...shape,
  ...select,
  ...scatter,
  ...manyAxes,
  ...resize,
  ...loss,
};
