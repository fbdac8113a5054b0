import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generator, readSafetensorsFile, type Tensor, tensor, writeSafetensorsFile } from "@exitkit/core-gpu";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { readSparseFile, writeSparseFile } from "../src/index.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sparse-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string) => join(folder, `${name}.safetensors`);
const bits = ({ data }: Tensor) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

it("comes back to the same bits, −0, NaN and infinities too", async () => {
  const value = fc.oneof(fc.constantFrom(0, 0, 0, -0, Number.NaN, Number.NEGATIVE_INFINITY), fc.float());
  const property = fc.asyncProperty(fc.array(value, { maxLength: 40 }), async (list) => {
    const weight = tensor("float32", [list.length], Float32Array.from(list));
    await writeSparseFile(path("law"), { weight, labels: tensor("int64", [1]) });
    const back = await readSparseFile(path("law"));
    expect(Object.keys(back).sort()).toEqual(["labels", "weight"]);
    expect([back.weight!.dtype, back.weight!.shape]).toEqual(["float32", [list.length]]);
    expect(bits(back.weight!)).toEqual(bits(weight));
  });
  await fc.assert(property, { seed: 1, numRuns: 100 });
});

it("takes a bit an element and what is left: 1 / 32 + .12 of the dense file", async () => {
  const random = generator(1);
  const weight = tensor(
    "float32",
    [64, 1000],
    Float32Array.from({ length: 64_000 }, () => (random.uniform() < 0.12 ? 1 : 0)),
  );
  await writeSparseFile(path("sparse"), { weight });
  await writeSafetensorsFile(path("dense"), { weight });
  const share = statSync(path("sparse")).size / statSync(path("dense")).size;
  expect(share).toBeCloseTo(1 / 32 + 0.12, 2);
});

it("refuses other files and damaged ones by name", async () => {
  await writeSafetensorsFile(path("other"), { a: tensor("float32", [1]) });
  await expect(readSparseFile(path("other"))).rejects.toThrow(
    /other.safetensors" must be a file that writeSparseFile wrote/,
  );
  await writeSparseFile(path("whole"), { a: tensor("float32", [4], [0, 0, 1, 2]) });
  const { tensors, metadata } = await readSafetensorsFile(path("whole"));
  await writeSafetensorsFile(path("bits"), { ...tensors, "bits:a": tensor("uint8", [1], [7]) }, metadata);
  await expect(readSparseFile(path("bits"))).rejects.toThrow(/"a" of .* 4 elements; got 3 bits set and 2 elements/);
  const { "bits:a": _, ...without } = tensors;
  await writeSafetensorsFile(path("none"), without, metadata);
  await expect(readSparseFile(path("none"))).rejects.toThrow(/got none/);
  await writeSafetensorsFile(path("shapes"), tensors, { ...metadata, shapes: '{"a":[1e99]}' });
  await expect(readSparseFile(path("shapes"))).rejects.toThrow(/must say the shapes/);
  writeFileSync(path("cut"), "cut");
  await expect(readSparseFile(path("cut"))).rejects.toThrow(/cut.safetensors/);
});
