import { type Device, openDevice, tensor } from "@exitkit/core-gpu";
import { afterAll, beforeAll, expect, it } from "vitest";
import { accumulateStatistics, type Batch, type ClassStatistics, type RuntimeBatch } from "../src/index.ts";
import { batches, tinyModel } from "./fixture.ts";

const model = tinyModel();
const [batch] = batches("test", 60) as [Batch];
const y = Int32Array.from(batch.y);

let device: Device;
let wanted: ClassStatistics;
const sums = (own: Batch | RuntimeBatch) => accumulateStatistics(model, [own], { classes: 4, device });
beforeAll(async () => {
  device = await openDevice("cpu");
  wanted = await sums(batch);
});
afterAll(() => device.close());

it.each([
  ["a list", [...y]],
  ["bytes", Uint8Array.from(y)],
  ["bigints", BigInt64Array.from(y, BigInt)],
  ["an int64 tensor", tensor("int64", [60], BigInt64Array.from(y, BigInt))],
  ["a tensor of bytes", tensor("uint8", [60], Uint8Array.from(y))],
  ["the runtime's tensor", { dims: [60], type: "int64", data: BigInt64Array.from(y, BigInt) }],
])("labels are taken as %s", async (_, labels) => {
  expect(await sums({ x: batch.x, y: labels })).toEqual(wanted);
});

it("samples are taken as the runtime's tensor", async () => {
  const { dtype, shape, data } = batch.x;
  expect(await sums({ x: { dims: shape, type: dtype, data }, y })).toEqual(wanted);
});

it("labels of another kind, or out of range, are refused by name", async () => {
  const refused = (labels: unknown) => expect(sums({ x: batch.x, y: labels as never })).rejects;
  await refused(tensor("float32", [60])).toThrow("labels of batch 0 must be class indices");
  await refused(BigInt64Array.from({ length: 60 }, () => 4n)).toThrow(
    "labels must be whole numbers from 0 to 3; got 4 at row 0 of batch 0",
  );
  await refused(5).toThrow("labels of batch 0 must be class indices");
});
