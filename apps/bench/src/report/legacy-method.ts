import { dataFiles, type FileRow, weightFiles } from "./files.ts";
import { type Html, html } from "./html.ts";
import { count, large, percent } from "./numbers.ts";
import { PROTOCOLS } from "./protocols.ts";
import { rivalsWords } from "./rivals-words.ts";
import { backboneName, capital } from "./series.ts";
import type { E2cmCifar10Result, ReportResult } from "./types.ts";

/** Where a result names several data sets, they are what was used; configurations of older runs name CIFAR-10 in any case. */
export function usedData(result: ReportResult): { readonly data?: readonly string[] } {
  const used = result.experiment === "e2cm-rivals" ? result.datasets : [];
  const names = used.flatMap((one) => one?.name ?? []);
  return names.length === 0 ? {} : { data: names };
}

export function filesOf(result: ReportResult): FileRow[] | undefined {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return files(result.data?.files, result.weights);
    case "e2cm-rivals":
      return files(result.datasets.flatMap((data) => data.files));
    default:
      return undefined;
  }
}

export function words(result: ReportResult): Html {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return e2cmWords(result);
    case "e2cm-rivals":
      return rivalsWords(result);
  }
}

function e2cmWords({ data, backbones, protocols = {} }: E2cmCifar10Result): Html {
  const sizes =
    data === undefined
      ? "The data set was not recorded."
      : `${data.name}: ${count(data.train)} training and ${count(data.test)} test pictures.`;
  const networks = backbones.map(
    (one) =>
      `${backboneName(one.backbone)} has ${large(one.macs)} multiply-accumulates a picture and answers ${percent(one.accuracy, 2)} right`,
  );
  return html`<dl>
<dt>Data</dt><dd>${sizes} ${networks.length > 0 ? `${networks.join("; ")}.` : null}</dd>
${Object.entries(PROTOCOLS).map(([protocol, { name, meaning }]) => html`<dt>${capital(name)}</dt><dd>${protocols[protocol] ?? meaning}</dd>`)}
<dt>Cost</dt><dd>Multiply-accumulates (MACs) of one picture: the backbone up to the exit it leaves at, plus every exit it passed on the way. 100 % is the plain network without exits, so a picture that never leaves costs a little more than 100 %.</dd>
<dt>Time</dt><dd>Wall-clock time to answer the pictures in stages (run a stage, decide, go on with the pictures that stay) divided by the time of the plain network, measured in turn in one process; medians.</dd>
<dt>Distances</dt><dd>Euclidean: distance to the class mean, either raw, or divided by that class's average distance over the training pictures (normalised, the paper's rule), or divided by the largest distance of the same picture. Shared covariance: the posterior probability of a class when all classes share one covariance.</dd>
</dl>`;
}

function files(data: Parameters<typeof dataFiles>[0], weights: Parameters<typeof weightFiles>[0] = []): FileRow[] {
  return [...dataFiles(data), ...weightFiles(weights)];
}
