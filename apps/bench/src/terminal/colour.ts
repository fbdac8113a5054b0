import { styleText } from "node:util";
import type { Output } from "./output.ts";

/** Writes text in a style; as it is where the stream is no terminal, or its user wants no colour (NO_COLOR, TERM=dumb). */
export type Paint = (style: "bold" | "dim" | "red" | "green", text: string) => string;

export function paintFor({ isTTY }: Output): Paint {
  const { NO_COLOR = "", TERM } = process.env;
  if (isTTY !== true || NO_COLOR !== "" || TERM === "dumb") return (_, text) => text;
  return (style, text) => styleText(style, text, { validateStream: false });
}
