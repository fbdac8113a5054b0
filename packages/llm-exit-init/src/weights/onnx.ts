import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InputError, onnx, readModelFile, type Tensor } from "@exitkit/core-gpu";
import { columnsAsRows } from "./arrange.ts";
import { exists, type FolderWeights } from "./folder.ts";
import { checkMemory } from "./memory.ts";

/** Where exports lie in a folder: beside the settings, or as transformers.js has them. */
const places = ["model.onnx", "onnx/model.onnx"];

/** What a model calls its embedding; a file may call it by its head's name where both are one. */
const embeddings: Readonly<Record<string, string>> = {
  llama: "model.embed_tokens.weight",
  qwen2: "model.embed_tokens.weight",
  gpt2: "transformer.wte.weight",
  opt: "model.decoder.embed_tokens.weight",
  gpt_neox: "gpt_neox.embed_in.weight",
};

/** A tensor of the graph under the name that the model's own files give it. */
interface Place {
  readonly message: onnx.TensorProto;
  /** Saved as [in, out], where the model's file has [out, in]. */
  readonly transposed: boolean;
}

/** The ONNX export of a folder; null where there is none, or safetensors are there. */
export async function exportOf(folder: string): Promise<string | null> {
  for (const own of ["model.safetensors", "model.safetensors.index.json"]) {
    if (await exists(join(folder, own))) return null;
  }
  for (const place of places) if (await exists(join(folder, place))) return join(folder, place);
  return null;
}

/** The folder with the settings of an export: its own, or the one around `onnx/`. */
export async function folderOf(path: string): Promise<string> {
  const folder = dirname(path);
  const inside = basename(folder) === "onnx" && !(await exists(join(folder, "config.json")));
  return inside ? dirname(folder) : folder;
}

/**
 * The weights of an ONNX export by the names that the model itself has for them: initializers keep theirs, and a matrix that the
 * exporter transposed and renamed is known by the module that its product belongs to, which is in the node's name
 * (`/model/layers.0/mlp/up_proj/MatMul`) or in its `pkg.torch.onnx.name_scopes`.
 *
 * @throws InputError on a file that is no ONNX model, has its weights in other files, or takes more memory than there is.
 */
export async function openExportWeights(
  caller: string,
  path: string,
  architecture: string,
  maxBytes: number | undefined,
): Promise<FolderWeights> {
  const { size } = await stat(path);
  checkMemory(caller, path, size / Float32Array.BYTES_PER_ELEMENT, size, maxBytes);
  const { graph } = (await readModelFile(path)).proto;
  const found = placesOf(graph!, embeddings[architecture]);
  return {
    source: path,
    shapes: new Map([...found].map(([name, { message, transposed }]) => [name, shapeOf(message, transposed)])),
    async read(name): Promise<Tensor<"float32">> {
      const { message, transposed } = found.get(name)!;
      const given = onnx.hostTensor(caller, message);
      if (given.dtype !== "float32") {
        const fix = "Export the model in float32.";
        throw new InputError(caller, `"${name}" of ${path} must be float32`, given.dtype, fix);
      }
      return transposed ? columnsAsRows(0, given.shape[1]!)(given as Tensor<"float32">) : (given as Tensor<"float32">);
    },
    close: async () => {},
  };
}

function shapeOf({ dims }: onnx.TensorProto, transposed: boolean): readonly number[] {
  const shape = dims.map(Number);
  return transposed ? shape.reverse() : shape;
}

function placesOf(graph: onnx.GraphProto, embedding: string | undefined): ReadonlyMap<string, Place> {
  const matrices = new Map(graph.initializer.map((message) => [message.name, message]));
  const found = new Map<string, Place>();
  for (const node of graph.node) {
    const module = node.opType === "MatMul" ? moduleOf(node) : undefined;
    const message = matrices.get(node.input[1] ?? "");
    if (module !== undefined && message?.dims.length === 2) {
      found.set(`${module}.weight`, { message, transposed: true });
    }
  }
  for (const message of graph.initializer) found.set(message.name, { message, transposed: false });
  // An export of a module around the model has that module's name in front.
  const wrapped = [...found.keys()].some((name) => /^\w+\.(model|transformer|gpt_neox|lm_head|embed_out)\./.test(name));
  const own = [...found].map(([name, place]) => [wrapped ? name.replace(/^\w+\./, "") : name, place] as const);
  const named = new Map(own.filter(([name]) => /^(model|transformer|gpt_neox|lm_head|embed_out)\./.test(name)));
  const head = named.get("lm_head.weight") ?? named.get("embed_out.weight");
  if (embedding !== undefined && !named.has(embedding) && head?.transposed === false) named.set(embedding, head);
  return named;
}

/** The module that a node computes, `model.layers.0.mlp.up_proj`. */
function moduleOf(node: onnx.NodeProto): string | undefined {
  const path = /^\/(.+)\/MatMul$/.exec(node.name)?.[1];
  if (path !== undefined) return path.replaceAll("/", ".");
  const scopes = node.metadataProps.find(({ key }) => key === "pkg.torch.onnx.name_scopes")?.value;
  return scopes === undefined ? undefined : [...scopes.matchAll(/'([^']*)'/g)].at(-2)?.[1];
}
