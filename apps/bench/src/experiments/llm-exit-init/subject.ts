import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { type Device, type Generator, generator, InputError } from "@exitkit/core-gpu";
import { cutWindows, type Decoder, openDecoder, type TokenWindows } from "@exitkit/llm-exit-init";
import type { Context } from "../experiment.ts";
import type { DecoderPlan, Plan, ShiftPlan } from "./settings.ts";
import { freshDecoder, trainDecoder } from "./train-decoder.ts";

/** A decoder and the parts of its text. */
export interface Subject {
  readonly name: string;
  readonly decoder: Decoder;
  /** What the text is, in words. */
  readonly text: string;
  /** Token that begins a document. */
  readonly border: number | undefined;
  readonly fit: TokenWindows;
  readonly calibration: TokenWindows;
  readonly test: TokenWindows;
  /** Sequences to train on, from the fitted text, and to judge every epoch with, from the test text; one token longer than what is read. */
  readonly training: TokenWindows | null;
  readonly judged: TokenWindows | null;
  /** Text of another kind, of documents that are in no other part; null where the plan has none. */
  readonly shifted: {
    readonly fit: readonly number[];
    readonly calibration: TokenWindows;
    readonly test: TokenWindows;
  } | null;
  /** Tokens of a document of the test text, to be looked at. */
  readonly story: readonly number[];
}

const asset = (path: string) => fileURLToPath(new URL(`../../../assets/${path}`, import.meta.url));

/** stories260K and the sample of TinyStories, both from the repository. */
export async function storiesSubject(plan: Plan): Promise<Subject> {
  const decoder = await openDecoder(asset("llm-stories260k"));
  const stories = await tinyStories();
  return subjectOf("stories260K", decoder, "TinyStories (a sample of its training split)", stories, stories, plan);
}

/** A decoder that is trained here, on the text that heads are fitted on; it knows nothing of what is reported on. */
export async function talesSubject(
  context: Pick<Context, "run" | "progress" | "seed">,
  device: Device,
  plan: Plan & { readonly decoder: DecoderPlan },
): Promise<Subject> {
  const { run, seed } = context;
  const { name, tokens, length } = plan.decoder;
  const folder = join(run.path, name);
  const fresh = await freshDecoder(folder, asset("llm-stories260k/tokens.json"), plan.decoder, generator(seed));
  const stories = await tinyStories();
  const read = cutWindows(encoded(fresh, stories, tokens).tokens.slice(0, tokens), length + 1);
  const decoder = await trainDecoder(context, device, fresh, read, plan.decoder, seed);
  const text = `TinyStories (a sample of its training split; the decoder was trained on the ${tokens} tokens that are fitted)`;
  return subjectOf(name, decoder, text, stories, stories, plan);
}

async function tinyStories(): Promise<readonly string[]> {
  const packed = await readFile(asset("tinystories/tinystories_sample.txt.gz"));
  // The last story is cut off.
  return gunzipSync(packed).toString("utf8").split("<|endoftext|>").slice(0, -1);
}

/**
 * SmolLM2-135M-Instruct from `directory/smollm2` and WikiText-2 from `directory/text`: fitted on its validation text, reported on its
 * test text. null where one of them is not there.
 */
export async function smollm2Subject(directory: string | undefined, plan: Plan): Promise<Subject | null> {
  if (directory === undefined) return null;
  const folder = join(directory, "smollm2");
  const file = (await readdir(folder).catch(() => [])).find((name) => name.endsWith(".gguf"));
  const texts = await Promise.all(
    ["valid", "test"].map((part) =>
      readFile(join(directory, "text", `wikitext2_${part}.txt`), "utf8").catch(() => null),
    ),
  );
  if (file === undefined || texts.includes(null)) return null;
  const decoder = await openDecoder(join(folder, file));
  // An article begins with " = Its title = ".
  const [fitted, tested] = texts.map((text) => text!.split(/\n(?= = [^=])/));
  return subjectOf("SmolLM2-135M-Instruct", decoder, "WikiText-2 (fitted on validation text)", fitted!, tested!, plan);
}

/**
 * Cuts text into its parts. Documents are encoded one by one, as the tokenizer begins them.
 *
 * @param fitted Documents to fit, calibrate and train on, in order.
 * @param tested Documents to report on, from the end where they are the same ones.
 * @throws InputError where the text is too short for the plan.
 */
function subjectOf(
  name: string,
  decoder: Decoder,
  text: string,
  fitted: readonly string[],
  tested: readonly string[],
  plan: Plan,
): Subject {
  const { tokens: begun, documents } = encoded(decoder, fitted, plan.fit + plan.calibration);
  // From the end, so that no document is in two parts.
  const last = (fitted === tested ? [...tested].reverse() : tested).filter((document) => document.trim() !== "");
  const { tokens: held, documents: heldDocuments } = encoded(decoder, last, plan.test);
  const { training } = plan;
  const between = fitted === tested ? fitted.slice(documents, fitted.length - heldDocuments) : [];
  return {
    name,
    decoder,
    text,
    border: decoder.tokenizer?.beginOfText ?? undefined,
    fit: cutWindows(begun.slice(0, plan.fit), plan.window),
    calibration: cutWindows(begun.slice(plan.fit, plan.fit + plan.calibration), plan.window),
    test: cutWindows(held.slice(0, plan.test), plan.window),
    training: training === null ? null : cutWindows(begun.slice(0, training.tokens), training.length + 1),
    judged: training === null ? null : cutWindows(held.slice(0, training.judged), training.length + 1),
    shifted: plan.shift === null ? null : shiftedText(decoder, between, plan.shift, plan.window),
    story: decoder.tokenizer!.encode(last[0]!.trim()).slice(0, plan.window),
  };
}

/**
 * Requests with answers, made of stories as TinyStories-Instruct is: three words of the story, its last sentence, and the story itself up to
 * five sentences.
 */
function requestsOf(stories: readonly string[], random: Generator): readonly string[] {
  return stories.flatMap((story) => {
    const sentences = story.trim().split(/(?<=[.!?]"?)\s+/);
    const words = [...new Set(story.toLowerCase().match(/[a-z]{4,}/g) ?? [])];
    if (sentences.length < 3 || words.length < 3) return [];
    const chosen = [...random.permutation(words.length)].slice(0, 3).map((at) => words[at]!);
    const [last] = sentences.slice(-1);
    return [`Words: ${chosen.join(", ")}\nSummary: ${last}\nStory: ${sentences.slice(0, 5).join(" ")}`];
  });
}

/** @throws InputError where the documents are too few for the plan. */
function shiftedText(
  decoder: Decoder,
  stories: readonly string[],
  plan: ShiftPlan,
  window: number,
): Subject["shifted"] {
  const { tokens, calibration, test } = plan;
  const most = Math.max(...tokens);
  const all = encoded(decoder, requestsOf(stories, generator(1)), most + calibration + test).tokens;
  return {
    fit: all.slice(0, most),
    calibration: cutWindows(all.slice(most, most + calibration), window),
    test: cutWindows(all.slice(most + calibration, most + calibration + test), window),
  };
}

/** The tokens of the first documents, as many as are needed, and how many documents these are. @throws InputError where all are too few. */
export function encoded(decoder: Pick<Decoder, "tokenizer">, documents: readonly string[], wanted: number) {
  const tokens: number[] = [];
  let used = 0;
  for (const document of documents) {
    if (tokens.length >= wanted) break;
    used += 1;
    if (document.trim() !== "") tokens.push(...decoder.tokenizer!.encode(document.trim()));
  }
  if (tokens.length < wanted) {
    const fix = "Take a longer text, or a plan of fewer tokens.";
    throw new InputError("bench llm-exit-init", `the text must have ${wanted} tokens`, `${tokens.length}`, fix);
  }
  return { tokens, documents: used };
}
