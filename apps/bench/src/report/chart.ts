import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Html, html, raw } from "./html.ts";
import { htmlTable, type Table } from "./table.ts";

const { document } = parseHTML("<!doctype html><html></html>");

/** Widths, in CSS pixels, that figures are drawn at: the whole column of a desk, half of it, a phone. */
export const COLUMN = 920;
export const HALF = 448;
const PHONE = 350;

/** Draws a plot as inline SVG without a style of its own; `label` says in words what it shows. */
export function draw(label: string, options: Plot.PlotOptions): Html {
  const svg = Plot.plot({ ...options, document, className: "plot" } as Plot.PlotOptions);
  svg.querySelector("style")?.remove();
  svg.setAttribute("role", "img");
  svg.removeAttribute("font-family");
  svg.setAttribute("font-size", "12");
  // linkedom leaves < and & in attributes as they are, so the label is put in here.
  const { html: labelled } = html`<svg aria-label="${label}" `;
  return raw(svg.outerHTML.replaceAll(' xmlns="http://www.w3.org/2000/svg"', "").replace("<svg ", () => labelled));
}

/** A figure drawn twice, for a desk and for a phone, so that its text is never scaled; the style shows the one that fits. */
export function responsive(plot: (width: number) => Html, wide = COLUMN): Html {
  return html`<div class="wide">${plot(wide)}</div><div class="narrow">${plot(PHONE)}</div>`;
}

export function isPhone(width: number): boolean {
  return width <= PHONE;
}

/** How axes and what is written beside them look. */
export const AXIS = { tickSize: 0, label: null, fill: "var(--ink-2)" } as const;

/** The paper's colour around letters, so that lines behind do not cross them. */
export const HALO = { stroke: "var(--paper)", strokeWidth: 4, strokeLinejoin: "round" } as const;

/** The grid along x and its axis, with fewer ticks on a phone. */
export function gridAndAxisX(width: number, options: Plot.AxisXOptions = {}): Plot.Markish[] {
  const ticks = isPhone(width) ? 3 : 6;
  return [Plot.gridX({ ticks, stroke: "var(--grid)", strokeOpacity: 1 }), Plot.axisX({ ticks, ...AXIS, ...options })];
}

/** What an axis shows, in words: below its right end unless said otherwise. */
export function axisName(text: string, options: Plot.TextOptions = {}): Plot.Text {
  const place = { frameAnchor: "bottom-right", textAnchor: "end", dy: 34 } as const;
  return Plot.text([text], { ...place, ...options, text: (value: string) => value, fill: AXIS.fill });
}

export function figure(content: Html | readonly Html[], caption: Html | string): Html {
  return html`<figure>${content}<figcaption>${caption}</figcaption></figure>`;
}

/** Something that most readers do without: folded away until asked for. */
export function details(summary: string, content: Html | Table): Html {
  return html`<details><summary>${summary}</summary>${"html" in content ? content : htmlTable(content)}</details>`;
}

/** A sentence below a table. */
export function caption(text: string): Html {
  return html`<p class="caption">${text}</p>`;
}

/** The word for the part of a result that is not there. */
export const NOT_MEASURED = html`<p class="none">Not measured in this run.</p>`;
