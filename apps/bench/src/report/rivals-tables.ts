import { spread } from "../measuring/spread.ts";
import { NOT_MEASURED, table } from "./chart.ts";
import { type Html, html } from "./html.ts";
import { count, decimal, milliseconds, percent, points } from "./numbers.ts";
import { atFraction, datasetName, methodsOf, rivalSeries } from "./rivals-series.ts";
import type { RivalsResult } from "./rivals-types.ts";
import { distinct } from "./series.ts";

const DASH = "–";

/** Accuracy at the poster's cost fractions, ours and the paper's. */
export function posterSection(result: RivalsResult): Html {
  const { poster, datasets, rows, settings } = result;
  if (poster === undefined || rows.length === 0) return NOT_MEASURED;
  const { fractions, paper } = poster;
  const budget = settings === undefined ? "" : `, ${settings.epochs} epochs`;
  const own = datasets.flatMap(({ dataset, name }) => {
    const of = rows.filter((row) => row.dataset === dataset);
    return methodsOf(of, "unlimited").map((method) => [
      `${name}: ${rivalSeries(method).name}${budget}`,
      ...fractions.map((fraction) => withSpread(atFraction(of, method, "unlimited", fraction))),
    ]);
  });
  const theirs = paper.map(({ method, accuracies }) => [
    `the paper, CIFAR-10: ${rivalSeries(method).name}`,
    ...accuracies.map((accuracy) => percent(accuracy, 1)),
  ]);
  const absent = paper.filter(({ method }) => !methodsOf(rows, "unlimited").includes(method));
  const names = absent.map(({ method }) => rivalSeries(method).name).join(", ");
  return html`${table(["accuracy at", ...fractions.map((fraction) => `at most ${percent(fraction)}`)], [...own, ...theirs])}
<p class="caption">Mean cost allowed on calibration pictures, as a share of the plain network's; a dash: the method cannot be so cheap. Ours: exits alone, trained on the frozen network (SDN's authors: 25 epochs). The paper's network is ResNet-152, trained without a limit.${
    names === "" ? "" : ` Not attempted here with an unlimited budget: ${names}.`
  }</p>`;
}

/** Exits of a table at most: class means after every block have too many, and a page of their own. */
const MOST_EXITS = 7;

/** How right every exit is, if all pictures leave there. */
export function perExitSection(result: RivalsResult): Html {
  const { perExit, datasets } = result;
  const kinds = distinct(perExit.map(({ dataset, method, budget }) => `${dataset}\n${method}\n${budget}`));
  const body = kinds.flatMap((kind) => {
    const [dataset, method, budget] = kind.split("\n") as [string, string, string];
    const own = perExit.filter((row) => row.dataset === dataset && row.method === method && row.budget === budget);
    const exits = distinct(own.map(({ exit }) => exit));
    if (exits.length > MOST_EXITS || !datasets.some((one) => one.dataset === dataset)) return [];
    const cells = exits.map((exit) => {
      const of = own.filter((row) => row.exit === exit);
      return `${percent(spread(of.map(({ accuracy }) => accuracy)).mean, 1)} (${percent(of[0]!.macsFraction)})`;
    });
    const missing = Array.from({ length: MOST_EXITS - cells.length }, () => "");
    return [[`${datasetName(result, dataset)}: ${rivalSeries(method).name}, ${budget}`, ...cells, ...missing]];
  });
  if (body.length === 0) return NOT_MEASURED;
  return html`${table(["right at exit", ...Array.from({ length: MOST_EXITS }, (_, exit) => count(exit + 1))], body)}<p class="caption">In brackets the multiply-accumulates of a picture that leaves there, all exits before included. The last exit is the network itself. Means over seeds.</p>`;
}

/** How long fitting takes, and how much memory. */
export function effortSection(result: RivalsResult): Html {
  const { training, memory, datasets } = result;
  if (training.length === 0) return NOT_MEASURED;
  const body = datasets.flatMap(({ dataset }) => {
    const own = training.filter((row) => row.dataset === dataset);
    const peak = (method: string) =>
      memory.find((row) => row.dataset === dataset && row.method === (method === "bwds" ? "sdn" : method))?.bytes;
    const failed = result.diverged.filter((row) => row.dataset === dataset);
    const pass = own.find(({ method }) => method === "e2cm")?.seconds;
    return distinct([...own, ...failed].map(({ method, budget }) => `${method}\n${budget}`)).map((key) => {
      const [method, budget] = key.split("\n") as [string, string];
      const [of, lost] = [own, failed].map((rows) =>
        rows.filter((row) => row.method === method && row.budget === budget),
      ) as [typeof own, typeof failed];
      const known = of.flatMap(({ seconds }) => seconds ?? []);
      const time = known.length === 0 ? undefined : spread(known).mean;
      const bytes = peak(method);
      const { epochs } = (of[0] ?? lost[0])!;
      const which = lost.map(({ seed }) => seed).join(", ");
      return [
        `${datasetName(result, dataset)}: ${rivalSeries(method).name}`,
        of[0]?.seed === null ? "one pass" : `${epochs} ${epochs === 1 ? "epoch" : "epochs"}`,
        time === undefined ? DASH : `${time < 100 ? decimal(time, 1) : count(time)}\u00a0s`,
        time === undefined || pass == null ? DASH : `${decimal(time / pass, 1)}\u00a0×`,
        bytes === undefined ? DASH : `${count(bytes / 2 ** 20)}\u00a0MiB`,
        lost.length === 0 ? "" : `diverged with ${lost.length === 1 ? "seed" : "seeds"} ${which}`,
      ];
    });
  });
  const plain = memory.filter(({ method }) => method === "plain");
  return html`${table(["method", "budget", "time to fit", "of E²CM's", "peak memory", ""], body)}
<p class="caption">Time: from the plain network to exits that can be used, compilation of the training step included; means over seeds, each measured once in the course of the run. Over several epochs all kinds of exits are trained in the same passes, and the time is that of all. Gates: with the exits they are learned on, whose memory is given. Memory: the largest resident set of a process of its own that fits the method on 1,024 pictures${
    plain.length === 0
      ? ""
      : `; one that only answers some with the plain network takes ${plain.map(({ dataset, bytes }) => `${count(bytes / 2 ** 20)}\u00a0MiB (${datasetName(result, dataset)})`).join(", ")}`
  }.</p>`;
}

/** Wall clock of every method in stages. */
export function rivalWallSection(result: RivalsResult): Html {
  const { wall, settings } = result;
  const [first] = wall;
  if (first === undefined) return NOT_MEASURED;
  const part = (asked: string, title: string) => {
    const rows = wall.filter((row) => row.asked === asked);
    if (rows.length === 0) return null;
    const body = rows.map((row) => [
      `${datasetName(result, row.dataset)}: ${rivalSeries(row.method).name}, ${row.budget}`,
      percent(row.macsFraction),
      percent(row.wallFraction),
      milliseconds(row.plainMs),
      milliseconds(row.stagedMs),
      `${percent(row.accuracy, 1)}${row.within ? "" : " (loss not kept)"}`,
      percent(row.fullAccuracy, 1),
    ]);
    return html`<h3>${title}</h3>${table(["method", "MACs", "time", "plain", "in stages", "right", "plain network"], body)}`;
  };
  const loss = settings === undefined ? "a small loss" : `at most ${points(settings.timedLoss)}`;
  const most = settings === undefined ? "so much" : percent(settings.timedFraction);
  return html`${part("loss", `Asked to lose ${loss}`)}${part("cost", `Allowed ${most} of the multiply-accumulates`)}<p class="caption">Batch ${first.batch}, ${count(first.pictures)} pictures of the second half of the test pictures, thresholds from the first half, one seed. “Loss not kept”: no setting keeps it on calibration pictures, and the most accurate one was timed. Every batch goes through the plain session and through the stages in turn; medians over ${first.runs} rounds.</p>`;
}

/** The cheapest settings within some losses. */
export function withinSection(result: RivalsResult): Html {
  const { within, datasets } = result;
  if (within.length === 0) return NOT_MEASURED;
  const losses = distinct(within.map(({ wantedLoss }) => wantedLoss));
  const body = datasets.flatMap(({ dataset }) => {
    const own = within.filter((row) => row.dataset === dataset);
    return distinct(own.map(({ method, budget }) => `${method}\n${budget}`)).map((key) => {
      const [method, budget] = key.split("\n") as [string, string];
      return [
        `${datasetName(result, dataset)}: ${rivalSeries(method).name}, ${budget}`,
        ...losses.map((loss) => {
          const of = own.filter((row) => row.method === method && row.budget === budget && row.wantedLoss === loss);
          const costs = of.flatMap(({ macsFraction }) => macsFraction ?? []);
          if (of.length === 0 || costs.length < of.length) return DASH;
          const right = spread(of.map(({ accuracy }) => accuracy!)).mean;
          return `${percent(spread(costs).mean)} (${percent(right, 1)})`;
        }),
      ];
    });
  });
  return html`${table(["asked to lose at most", ...losses.map((loss) => points(loss))], body)}<p class="caption">Multiply-accumulates as a share of the plain network's, in brackets the accuracy on new pictures. A dash: not with every seed.</p>`;
}

/** What the paper says, what came out, and whether they agree. */
export function claimsSection(result: RivalsResult): Html {
  const { claims } = result;
  if (claims.length === 0) return NOT_MEASURED;
  return table(
    ["data", "the paper says", "measured here", "status"],
    claims.map(({ dataset, paper, measured, status }) => [
      datasetName(result, dataset),
      html`<span class="words">${paper}</span>`,
      html`<span class="words">${measured}</span>`,
      html`<span class="${status === "as the paper says" ? "right" : status === "otherwise" ? "wrong" : "open"}">${status}</span>`,
    ]),
  );
}

function withSpread(found: ReturnType<typeof atFraction>): string {
  if (found === null) return DASH;
  return `${percent(found.mean, 1)}${found.deviation === undefined ? "" : ` ± ${decimal(100 * found.deviation, 1)}`}`;
}
