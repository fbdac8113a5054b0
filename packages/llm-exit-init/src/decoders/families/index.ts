import { InputError } from "@exitkit/core-gpu";
import type { Family, Layout } from "./family.ts";
import { gptNeox } from "./gpt-neox.ts";
import { gpt2 } from "./gpt2.ts";
import { llama, qwen2 } from "./llama.ts";
import { llama2c } from "./llama2c.ts";
import { opt } from "./opt.ts";

/** Every family of decoders. */
const families: readonly Family[] = [llama, qwen2, gpt2, opt, gptNeox, llama2c];

/** How files of an architecture are read. @throws InputError on an unknown one, naming those that are known. */
export function layoutOf(caller: string, kind: "folder" | "gguf", architecture: string, source: string): Layout {
  const known = families.flatMap((family) => {
    const layout = family[kind];
    return layout === undefined ? [] : [{ name: nameOf(kind, family.name), layout }];
  });
  const found = known.find(({ name }) => name === architecture)?.layout;
  if (found !== undefined) return found;
  const names = known.map(({ name }) => name).join(", ");
  throw new InputError(caller, `the architecture of ${source} must be one of ${names}`, `"${architecture}"`);
}

/** llama.cpp writes it without the underscore. */
const nameOf = (kind: "folder" | "gguf", name: string): string => (kind === "gguf" ? name.replace("_", "") : name);
