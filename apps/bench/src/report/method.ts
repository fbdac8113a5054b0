import type { FileRow } from "./files.ts";
import { type Html, html } from "./html.ts";
import type { Chapter } from "./page.ts";

/** How this was measured: words, configuration, environment, hashes. */
export function methodOf({ name, result, report }: Chapter): Html {
  const { preset, seed, device, config, environment } = result;
  const data = report.data === undefined || report.data.length === 0 ? {} : { data: report.data.join(", ") };
  const words = Array.isArray(report.method) ? report.method : Object.entries(report.method);
  return html`<dl>
${words.map(([term, meaning]) => html`<dt>${term}</dt><dd>${meaning}</dd>\n`)}</dl>
<div class="pair facts">
<div><h3>Configuration</h3>${pairs({ experiment: name, preset, seed, device, ...config, ...data })}</div>
<div><h3>Environment</h3>${pairs(environment)}</div>
</div>
${report.files === undefined ? null : filesOf(report.files)}`;
}

function filesOf(files: readonly FileRow[]): Html {
  if (files.length === 0) return html`<p class="none">File hashes were not recorded in this run.</p>`;
  const entries = files.map(({ what, name, sha256 }) => html`<dt>${name}, ${what}</dt><dd><code>${sha256}</code></dd>`);
  return html`<details><summary>Files and their SHA-256</summary><dl class="hashes">${entries}</dl></details>`;
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
  if (typeof value === "string" && /^[0-9a-f]{40}$/.test(value)) return value.slice(0, 12);
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
