import { count, percent, points } from "./numbers.ts";
import type { Headline } from "./report.ts";
import { atFraction, passMethod, rivalSeries } from "./rivals-series.ts";
import type { RivalsResult } from "./rivals-types.ts";
import { backboneName } from "./series.ts";

/** Where the methods are compared in one sentence. */
const FRACTION = 0.25;

/** What one pass gives beside one epoch, on the first data set. */
export function rivalsHeadline({ datasets, rows, training }: RivalsResult): Headline {
  const [first] = datasets;
  const own = rows.filter((row) => row.dataset === first?.dataset);
  const at = (method: string) => atFraction(own, method, "one epoch", FRACTION);
  const form = passMethod(own);
  const [pass, sdn] = [at(form), at("sdn")];
  if (first === undefined || pass === null || sdn === null) {
    return {
      sentence: "E²CM against trained exits: nothing to compare was measured in this run.",
      detail: "",
      facts: [],
    };
  }
  const lead = pass.mean - sdn.mean;
  const time = (method: string) =>
    training.find((row) => row.dataset === first.dataset && row.method === method && row.budget === "one epoch")
      ?.seconds;
  const [passTime, sdnTime] = [time(form), time("sdn")];
  return {
    sentence: `With a quarter of the multiply-accumulates, one pass of E²CM answers ${percent(pass.mean, 1)} of the ${first.name} pictures right, one epoch of ${rivalSeries("sdn").name} ${percent(sdn.mean, 1)}.`,
    detail: `${backboneName(first.network)}, ${count(first.train)} training pictures. E²CM, ${form === "e2cm" ? "in its default form" : "with exits at the same places"}, is ${lead >= 0 ? `${points(lead)} ahead` : `${points(-lead)} behind`} of ${rivalSeries("sdn").name}${
      passTime == null || sdnTime == null
        ? ""
        : `. Fitting takes ${count(passTime)} seconds, an epoch of ${rivalSeries("sdn").name} ${count(sdnTime)}`
    }.`,
    facts: ["e2cm", "e2cm-places", "e2cm-euclidean", "sdn", "bwds", "sdn-joint", "branchynet"].flatMap((method) => {
      const found = at(method);
      return found === null
        ? []
        : [{ value: percent(found.mean, 1), name: `${rivalSeries(method).name}, ≤ 25 % of the MACs` }];
    }),
  };
}
