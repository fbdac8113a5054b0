import { type Html, html, raw } from "./html.ts";
/** The words and the colour of a series; colours are CSS variables of style.ts, the same in every figure. */
export interface Series {
  readonly name: string;
  readonly color: string;
}

/** "resnet56" → "ResNet-56". */
export function backboneName(backbone: string): string {
  return backbone.replace(/^resnet-?(\d+)$/i, "ResNet-$1");
}

/** "resnet20" → "ResNet-20", "vit" → "ViT", "decoder" → "Decoder". */
export function networkName(network: string): string {
  return network === "vit" ? "ViT" : capital(backboneName(network));
}

/** Position `fraction` (0..1) on the sequential scale from pale to strong, in the current colour scheme. */
export function ramp(fraction: number): string {
  return `color-mix(in oklab, var(--ramp-to) ${Math.round(fraction * 1000) / 10}%, var(--ramp-from))`;
}

/** The sequential scale with what its ends mean. */
export function rampKey(end: string): Html {
  const stops = [0, 0.25, 0.5, 0.75, 1].map(ramp).join(",");
  return html`<p class="key">0 % <i style="${raw(`background:linear-gradient(90deg,${stops})`)}"></i> ${end}</p>`;
}

/** With a capital first letter. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The rows by what a function says of them, in the order of its values' first appearance. */
export function grouped<R, K extends string | number>(rows: readonly R[], keyOf: (row: R) => K): [key: K, rows: R[]][] {
  return distinct(rows.map(keyOf)).map((key) => [key, rows.filter((row) => keyOf(row) === key)]);
}

/** The distinct values, in the order of their first appearance. */
export function distinct<T>(values: readonly T[]): T[] {
  return [...new Set(values)];
}
