import { NOT_MEASURED } from "./chart.ts";
import { benchCommand } from "./command.ts";
import { type Html, html, raw } from "./html.ts";
import { methodOf } from "./method.ts";
import { contentOf, type Headline, type Report, type Section } from "./report.ts";
import { STYLE } from "./style.ts";
import { htmlTable } from "./table.ts";

/** A run and what its experiment says of it. */
export interface Chapter {
  /** The experiment's name for the command line, and its heading. */
  readonly name: string;
  readonly heading: string;
  readonly result: {
    readonly preset: string;
    readonly seed: number;
    readonly device: string;
    readonly config: Readonly<Record<string, unknown>>;
    readonly environment: Readonly<Record<string, unknown>>;
  };
  readonly report: Report;
}

/**
 * The whole report as one self-contained HTML page.
 *
 * @param chapters At least one; the first is the headline.
 * @param missing Experiments that were not run.
 */
export function page(chapters: readonly Chapter[], missing: readonly Pick<Chapter, "name" | "heading">[]): string {
  const [first, ...others] = chapters.map((chapter, index) => ({
    ...chapter,
    id: `run-${index + 1}`,
    sections: sectionsOf(chapter, index === 0 ? "" : `${index + 1}-`),
  }));
  const contents = [...first!.sections, ...others.map(({ id, heading }) => ({ id, title: heading }))];
  const body = html`<header>${opening(first!, "h1")}</header>
<nav aria-label="Contents"><ul>${contents.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
<main>
${first!.sections.map(sectionHtml)}
${others.map(
  (chapter) =>
    html`<div class="chapter" id="${chapter.id}">${opening(chapter, "h2")}${chapter.sections.map(sectionHtml)}</div>\n`,
)}
${missing.length === 0 ? null : notRun(missing)}
</main>
<footer>Written by exitkit bench. This page needs no network and holds no script.</footer>`;
  return document(first!.heading, body);
}

function document(title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${raw(STYLE)}</style>
</head>
<body>
${body}
</body>
</html>
`.html;
}

function opening({ heading, result, report }: Chapter, tag: "h1" | "h2"): Html {
  const { sentence, detail, goal, facts = [] }: Headline = report.headline;
  return html`<p class="kicker">${heading} · ${result.preset} · seed ${result.seed} · ${result.device}</p>
<${raw(tag)}>${sentence.replace(/-(?=\d)/g, "\u2011")}</${raw(tag)}>
${goal && html`<p class="goal ${goal.met ? "met" : "missed"}">${goal.met ? "✓ Goal met" : "✗ Goal not met"}: ${goal.text}</p>`}
${detail ? html`<p class="lede">${detail}</p>` : null}
${facts.length === 0 ? null : html`<ul class="numbers">${facts.map(({ value, name }) => html`<li><b>${value}</b><span>${name}</span></li>`)}</ul>`}`;
}

function sectionHtml(section: Section): Html {
  const { id, title, about } = section;
  const parts = contentOf(section).flatMap((part) => (!part ? [] : "html" in part ? [part] : [htmlTable(part)]));
  return html`<section id="${id}">
<h2>${title}</h2>
${about ? html`<p>${about}</p>` : null}
${parts.length === 0 ? NOT_MEASURED : parts}
</section>
`;
}

function sectionsOf(chapter: Chapter, prefix: string): Section[] {
  const measured = { id: "measured", title: "How this was measured", content: [methodOf(chapter)] };
  return [...chapter.report.sections, measured].map((section) => ({ ...section, id: `${prefix}${section.id}` }));
}

/** Experiments that were not run, in one line, with the command that runs one. */
function notRun(missing: readonly Pick<Chapter, "name">[]): Html {
  const names = missing.map(({ name }, index) => html`${index === 0 ? "" : ", "}<code>${name}</code>`);
  return html`<p class="missing">Not run yet: ${names}. Run one: <code>${benchCommand(`run ${missing[0]!.name}`)}</code></p>`;
}
