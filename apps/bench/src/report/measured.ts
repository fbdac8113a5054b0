import { table } from "./chart.ts";
import { clusteringWords } from "./clustering-words.ts";
import { type Html, html } from "./html.ts";
import { count, large, percent } from "./numbers.ts";
import { openWorldWords } from "./open-world.ts";
import { PROTOCOLS } from "./protocols.ts";
import { rivalsWords } from "./rivals-words.ts";
import { backboneName, capital } from "./series.ts";
import { trainCifar10Words, trainStepWords } from "./train-words.ts";
import type { E2cmCifar10Result, ReportResult } from "./types.ts";

/** How this was measured: words, configuration, environment, hashes. */
export function measuredSection(result: ReportResult): Html {
  return html`${words(result)}
<div class="pair facts">
<div><h3>Configuration</h3>${pairs({ experiment: result.experiment, preset: result.preset, seed: result.seed, device: result.device, ...result.config, ...usedData(result) })}</div>
<div><h3>Environment</h3>${pairs(result.environment)}</div>
</div>
${filesOf(result)}`;
}

/** Where a result names several data sets, they are what was used; configurations of older runs name CIFAR-10 in any case. */
function usedData(result: ReportResult): { readonly data?: string } {
  const used =
    result.experiment === "e2cm-clustering"
      ? result.data
      : result.experiment === "e2cm-rivals"
        ? result.datasets
        : result.experiment === "open-world"
          ? [result.data, result.unknown]
          : [];
  const names = used.flatMap((one) => one?.name ?? []);
  return names.length === 0 ? {} : { data: names.join(", ") };
}

function filesOf(result: ReportResult): Html | null {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return files(result.data?.files, result.weights);
    case "e2cm-clustering":
      return files(result.data.flatMap((data) => data.files));
    case "open-world":
      return files([...(result.data?.files ?? []), ...(result.unknown?.files ?? [])], result.weights);
    case "e2cm-rivals":
      return files(result.datasets.flatMap((data) => data.files));
    case "train-cifar10":
      return files(result.data?.files);
    default:
      return null;
  }
}

function words(result: ReportResult): Html {
  switch (result.experiment) {
    case "e2cm-cifar10":
      return e2cmWords(result);
    case "e2cm-clustering":
      return clusteringWords(result);
    case "open-world":
      return openWorldWords(result);
    case "e2cm-rivals":
      return rivalsWords(result);
    case "staged-overhead":
      return stagedWords();
    case "train-cifar10":
      return trainCifar10Words(result);
    case "train-step":
      return trainStepWords();
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

function stagedWords(): Html {
  return html`<dl>
<dt>Scenarios</dt><dd>“No exits”: every picture runs through all stages, so extra time is what staging costs. “Half leave at each exit”: half of the pictures that reach an exit leave there. “All leave first”: only the first stage runs.</dd>
<dt>Time</dt><dd>Wall-clock time of one batch, in stages and in one piece, measured in turn in one process; medians.</dd>
<dt>A cut costs</dt><dd>Time beyond the share of the computation, divided by the number of cuts.</dd>
</dl>`;
}

function files(
  data: readonly { readonly name: string; readonly sha256: string }[] = [],
  weights: E2cmCifar10Result["weights"] = [],
): Html {
  const rows = [
    ...data.map((file) => ["data", file.name, html`<code>${file.sha256}</code>`]),
    ...weights.map((file) => [
      `weights of ${backboneName(file.backbone)}`,
      file.file,
      html`<code>${file.sha256}</code>`,
    ]),
  ];
  if (rows.length === 0) return html`<p class="none">File hashes were not recorded in this run.</p>`;
  return html`<details open=""><summary>Files and their SHA-256</summary>${table(["what", "file", "SHA-256"], rows)}</details>`;
}

/** A record as a two-column list; nested ones in one line. */
function pairs(record: Readonly<Record<string, unknown>>): Html {
  const entries = Object.entries(record);
  if (entries.length === 0) return html`<p class="none">Not recorded in this run.</p>`;
  return html`<dl class="pairs">${entries.map(([key, value]) => html`<dt>${spaced(key)}</dt><dd>${plain(value)}</dd>`)}</dl>`;
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "number") return String(Math.round(value * 1e6) / 1e6);
  if (Array.isArray(value)) return value.map(plain).join(", ");
  if (typeof value === "object") {
    return Object.entries(value)
      .map(([key, inner]) => `${spaced(key)} ${plain(inner)}`)
      .join(", ");
  }
  return value === true ? "yes" : value === false ? "no" : String(value);
}

/** "loadAverage" → "load average"; names of packages stay. */
function spaced(key: string): string {
  if (!/^[a-zA-Z]+$/.test(key)) return key;
  const [, name, unit] = /^(.*?)(GiB)?$/.exec(key)!;
  const spacedName = name!.replace(
    /([a-z])([A-Z])/g,
    (_, before: string, letter: string) => `${before} ${letter.toLowerCase()}`,
  );
  return unit === undefined ? spacedName : `${spacedName} (${unit})`;
}
