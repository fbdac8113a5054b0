import { NOT_MEASURED } from "./chart.ts";
import { type Html, html } from "./html.ts";
import { percent } from "./numbers.ts";
import type { E2cmCifar10Result } from "./types.ts";

type Picture = NonNullable<E2cmCifar10Result["examples"]>["first"][number];

const PNG = /^data:image\/png;base64,[A-Za-z0-9+/=]+$/;

/** Pictures that left first and pictures that stayed to the end. */
export function examplesSection(result: E2cmCifar10Result): Html {
  const { first = [], last = [] } = result.examples ?? {};
  if (first.length + last.length === 0) return NOT_MEASURED;
  return html`${gallery("Left first", first, result.classNames)}${gallery("Stayed to the end", last, result.classNames)}`;
}

function gallery(title: string, pictures: readonly Picture[], classNames: readonly string[]): Html {
  return html`<h3>${title}</h3>${
    pictures.length === 0
      ? NOT_MEASURED
      : html`<ul class="pictures">${pictures.map((picture) => card(picture, classNames))}</ul>`
  }`;
}

function card({ png, label, predicted, exit, confidence }: Picture, classNames: readonly string[]): Html {
  const name = (index: number) => classNames[index] ?? `class ${index}`;
  const right = label === predicted;
  const image = PNG.test(png)
    ? html`<img src="${png}" width="96" height="96" alt="${name(label)}">`
    : html`<span class="broken">no picture</span>`;
  return html`<li>${image}<b>${name(label)}</b>${
    right
      ? html`<span class="right">✓ answered right</span>`
      : html`<span class="wrong">✗ answered ${name(predicted)}</span>`
  }<small>${exit === "full" ? "full network" : `exit ${exit}`}<br>${percent(confidence)} sure</small></li>\n`;
}
