import type { Fields } from "../../weights/fields.ts";
import type { PlanTree } from "../../weights/source.ts";
import type { DecoderConfig } from "../config.ts";

/** How the files of one kind of model are read: its settings, and where its parameters are. */
export interface Layout {
  /** @throws InputError on a setting that is missing, out of range or not implemented. */
  config(caller: string, fields: Fields): DecoderConfig;
  /** Where each parameter is, by the tensors' names that there are. */
  plan(config: DecoderConfig, names: ReadonlySet<string>): PlanTree;
  /** Tensors that are no parameters. */
  readonly ignored: RegExp;
}

/** A family of decoders: an adapter from its files to one program. */
export interface Family {
  /** `model_type` of a `config.json`; `general.architecture` of a GGUF file, which has no underscores. */
  readonly name: string;
  /** Files as Hugging Face's transformers saves them. */
  readonly folder?: Layout;
  /** Files as llama.cpp's converter writes them. */
  readonly gguf?: Layout;
}
