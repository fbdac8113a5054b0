import { readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { InputError, type OpenSafetensors, openSafetensorsFile, type Tensor } from "@exitkit/core-gpu";
import type { WeightSource } from "./source.ts";

/** The open safetensors files of a folder. */
export interface FolderWeights extends WeightSource {
  close(): Promise<void>;
}

const single = "model.safetensors";
const indexed = "model.safetensors.index.json";

/**
 * Opens the weights of a folder as transformers saves it: `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names.
 *
 * @throws InputError where neither is there, the index names files outside the folder or tensors that their file has not, or
 * a file is no valid safetensors.
 */
export async function openFolderWeights(caller: string, folder: string): Promise<FolderWeights> {
  const names = await readdir(folder);
  if (names.includes(single)) return opened(caller, folder, [single], undefined);
  if (names.includes(indexed)) {
    const index = await readJson(caller, join(folder, indexed));
    const map = index.weight_map;
    if (typeof map !== "object" || map === null || Object.values(map).some((name) => typeof name !== "string")) {
      throw new InputError(caller, `${indexed} must map tensors to files as "weight_map"`, typeof map);
    }
    const files = [...new Set(Object.values(map as Record<string, string>))];
    const outside = files.find((name) => name !== basename(name) || name.startsWith("."));
    if (outside !== undefined) {
      throw new InputError(caller, `${indexed} must name files of its folder`, JSON.stringify(outside));
    }
    return opened(caller, folder, files, map as Record<string, string>);
  }
  const fix = names.some((name) => name.endsWith(".bin"))
    ? "Save the model with safe_serialization."
    : "Is it the folder of a model?";
  throw new InputError(caller, `${folder} must hold ${single} or ${indexed}`, "neither", fix);
}

async function opened(
  caller: string,
  folder: string,
  files: readonly string[],
  map: Readonly<Record<string, string>> | undefined,
): Promise<FolderWeights> {
  const shards = new Map<string, OpenSafetensors>();
  const close = async () => {
    for (const shard of shards.values()) await shard.close();
  };
  try {
    const places = new Map<string, { readonly shard: OpenSafetensors; readonly shape: readonly number[] }>();
    for (const name of files) {
      const shard = await openSafetensorsFile(join(folder, name));
      shards.set(name, shard);
      for (const [tensor, shape] of shard.shapes) {
        if (map === undefined || map[tensor] === name) places.set(tensor, { shard, shape });
      }
    }
    const lost = Object.keys(map ?? {}).find((tensor) => !places.has(tensor));
    if (lost !== undefined) {
      throw new InputError(
        caller,
        `${map![lost]} must hold the tensor "${lost}", as ${indexed} says`,
        "none of that name",
      );
    }
    return {
      source: folder,
      shapes: new Map([...places].map(([name, { shape }]) => [name, shape])),
      async read(name): Promise<Tensor<"float32">> {
        const tensor = await places.get(name)!.shard.read(name);
        if (tensor.dtype === "float32") return tensor;
        throw new InputError(caller, `"${name}" of ${folder} must be float32, float16 or bfloat16`, tensor.dtype);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A JSON file whose content is a record. @throws InputError where it cannot be read or is none. */
export async function readJson(caller: string, path: string): Promise<Readonly<Record<string, unknown>>> {
  let content: unknown;
  try {
    content = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    const actual = error instanceof Error ? error.message : String(error);
    throw new InputError(caller, `${path} must be a readable JSON file`, actual, undefined, error);
  }
  if (typeof content === "object" && content !== null && !Array.isArray(content))
    return content as Record<string, unknown>;
  throw new InputError(caller, `${path} must hold a record`, JSON.stringify(content).slice(0, 60));
}

/** Whether there is such a file or folder. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
