import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { copyFile, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { at, bytesOf, from, throughFile } from "./places.mjs";

/** The readers of e2cm, eeprune and prune-ee. cbt reads no files of its own. */
export async function targets(folder) {
  const [core, e2cm, eeprune, prune, rounds] = await Promise.all(
    [
      "core-gpu/src/index",
      "e2cm/src/index",
      "eeprune/src/index",
      "prune-ee/src/index",
      "prune-ee/src/files/round-file",
    ].map((path) => from(`packages/${path}.ts`)),
  );
  const saved = "packages/e2cm/fixtures/saved-1/saved-1-shared";
  await copyFile(at(`${saved}.safetensors`), join(folder, "saved-1-shared.safetensors"));
  const columns = (name) => bytesOf(`packages/eeprune/fixtures/columns/${name}`);
  return [
    {
      name: "e2cm.loadExits",
      seeds: [bytesOf(`${saved}.json`)],
      // The tensors that it names are read too.
      beside: bytesOf(`${saved}.safetensors`).length,
      read: throughFile(folder, "exits.json", () => e2cm.loadExits(join(folder, "exits"))),
    },
    {
      name: "eeprune.readColumns, CSV",
      seeds: [
        Buffer.from(
          "labels,earlyPrediction,finalPrediction,earlyConfidence,ids\n0,0,0,0.9,5\n1,1,0,1e-3,6\n2,2,2,0.5,7\n",
        ),
        Buffer.from('"labels","earlyPrediction","finalPrediction","earlyConfidence"\r\n"0","1","1","0.25"\r\n'),
      ],
      read: throughFile(folder, "columns.csv", eeprune.readColumns),
    },
    {
      name: "eeprune.readColumns, Parquet",
      seeds: [columns("predictions.parquet"), columns("hole.parquet")],
      read: throughFile(folder, "columns.parquet", eeprune.readColumns),
    },
    {
      name: "eeprune.readNpyTensor",
      seeds: ["c-f4", "fortran-big-i4", "i8", "three", "bool"].map((name) => columns(`${name}.npy`)),
      read: throughFile(folder, "array.npy", eeprune.readNpyTensor),
    },
    ...(await selections(folder, eeprune, core)),
    ...(await pruned(folder, core, prune, rounds)),
  ];
}

/** Saved selections: the JSON beside them, and the lines and arrays themselves with a JSON that names them. */
async function selections(folder, { hashSamples, loadSelection, pruneBy, saveSelection }, { generator }) {
  const labels = [0, 0, 0, 1, 1, 1];
  const data = hashSamples({ labels });
  const chosen = pruneBy("random", { labels, classes: 2 }, { ratio: 0.5, generator: generator(1) });
  const made = await Promise.all(
    ["npy", "csv", "jsonl"].map(async (ending) => {
      const path = join(folder, `kept.${ending}`);
      await saveSelection(path, chosen, { data });
      return { ending, path, content: await readFile(path), json: await readFile(`${path}.json`, "utf8") };
    }),
  );
  const [npy] = made;
  return [
    {
      name: "eeprune.loadSelection, its JSON",
      seeds: [Buffer.from(npy.json)],
      read: throughFile(folder, "kept.npy.json", () => loadSelection(npy.path, { data })),
    },
    ...made.map(({ ending, json, content }) => ({
      name: `eeprune.loadSelection, ${ending}`,
      seeds: [content],
      read: async (bytes) => {
        const path = join(folder, `named.${ending}`);
        const sha256 = createHash("sha256").update(bytes).digest("hex");
        const header = { ...JSON.parse(json), file: { name: `named.${ending}`, sha256 } };
        writeFileSync(`${path}.json`, JSON.stringify(header));
        writeFileSync(path, bytes);
        await loadSelection(path, { data });
      },
    })),
  ];
}

async function pruned(folder, core, { readSparseFile, writeSparseFile }, { loadRound, saveRound }) {
  const { tensor } = core;
  const sparse = join(folder, "sparse.safetensors");
  const weight = tensor(
    "float32",
    [8, 8],
    Float32Array.from({ length: 64 }, (_, i) => (i % 3 === 0 ? i : 0)),
  );
  await writeSparseFile(sparse, { weight, bias: tensor("float32", [8]), steps: tensor("int64", [1]) });
  const rounds = join(folder, "rounds");
  await mkdir(rounds, { recursive: true });
  const params = { backbone: { weight }, exits: [{ weight: tensor("float32", [2, 8]) }] };
  const masks = { "backbone.weight": tensor("bool", [8, 8]) };
  const record = { round: 0, scope: "all", sparsity: 0.5, layers: [], history: [], evaluation: {}, notes: [] };
  await saveRound(rounds, "a plan", { params, masks, record });
  const name = "round-000.safetensors";
  return [
    {
      name: "prune-ee.readSparseFile",
      seeds: [await readFile(sparse)],
      read: throughFile(folder, "sparse.safetensors", readSparseFile),
    },
    {
      name: "prune-ee: a kept round",
      seeds: [await readFile(join(rounds, name))],
      read: throughFile(rounds, name, () => loadRound(rounds, 0, "a plan", params)),
    },
  ];
}
