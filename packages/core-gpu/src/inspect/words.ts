import type { Inspection, OutputInspection } from "./inspect-model.ts";

/** An inspection in lines for a person. */
export function wordsOf(inspection: Omit<Inspection, "words">): string {
  const { identity, opset, inputs, outputs, output, rows, types, notes } = inspection;
  const lines = [
    `network ${identity.slice(0, 12)}, operator set ${opset}, ${types.join(", ") || "no floats"} inside`,
    ...inputs.map(
      ({ name, dtype, shape }) => `input   ${name}  ${dtype} [${shape.map((size) => size ?? "?").join(", ")}]`,
    ),
    ...outputs.map((entry) => `${entry === output ? "output" : "also  "}  ${outputWords(entry)}`),
    `rows    ${rowsWords(rows)}`,
    ...notes.map((note) => `note    ${note}`),
  ];
  return lines.join("\n");
}

function outputWords({ name, dtype, shape, role, classes, scores }: OutputInspection): string {
  const [, ...sample] = shape;
  const held = role === "other" ? "no scores" : `${scores.kind} of ${classes} ${units[role]}`;
  return `${name}  ${dtype} [n${sample.map((size) => `, ${size}`).join("")}]  ${held}`;
}

const units = { classes: "classes", tokens: "classes a token", pixels: "classes a pixel" } as const;

function rowsWords({ batches, independent }: Inspection["rows"]): string {
  if (batches === "one") return "one sample at a time";
  return independent ? "independent of each other" : "change each other's answers";
}
