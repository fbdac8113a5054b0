import { NOT_MEASURED } from "../../../report/chart.ts";
import { type Html, html } from "../../../report/html.ts";
import { percent } from "../../../report/numbers.ts";
import type { E2cmCifar10Result, Picture } from "../schema.ts";

const PNG = /^data:image\/png;base64,[A-Za-z0-9+/=]+$/;

/** Pictures that left first and pictures that stayed to the end. */
export function pictureGalleries({ examples, classNames }: E2cmCifar10Result): Html[] {
  const { first = [], last = [] } = examples ?? {};
  if (first.length + last.length === 0) return [];
  return [gallery("Left first", first, classNames), gallery("Stayed to the end", last, classNames)];
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
  }<small>${exit}<br>${percent(confidence)} sure</small></li>\n`;
}
