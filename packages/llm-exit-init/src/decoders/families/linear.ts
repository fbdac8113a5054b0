import type { Tensor } from "@exitkit/core-gpu";
import type { PlanTree, WeightPlan } from "../../weights/source.ts";

type Take = (tensor: Tensor<"float32">) => Tensor<"float32">;

const one = (name: string, shape: readonly number[], take: Take | undefined): WeightPlan => ({
  name,
  shape,
  ...(take === undefined ? {} : { take }),
});

/** `stem.weight` [out, in], and `stem.bias` [out] where there is one. */
export function linearPlan(stem: string, shape: readonly [number, number], bias: boolean, take?: Take): PlanTree {
  const weight = one(`${stem}.weight`, shape, take);
  return bias ? { weight, bias: one(`${stem}.bias`, shape.slice(0, 1), take) } : { weight };
}

/** Weight [d], and a bias [d] where the norm has one. */
export function normPlan(stem: string, d: number, bias: boolean): PlanTree {
  const weight = one(`${stem}.weight`, [d], undefined);
  return bias ? { weight, bias: one(`${stem}.bias`, [d], undefined) } : { weight };
}

/** A matrix that is not a linear layer's: `[rows, d]`. */
export function tablePlan(name: string, rows: number, d: number): PlanTree {
  return { weight: one(name, [rows, d], undefined) };
}
