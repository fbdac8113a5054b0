import { type Device, describeModel, type Model, probeShapes } from "@exitkit/core-gpu";

/** Shapes of all tensors for two samples, so that a batch of 1 is not taken for a head. */
export async function shapesOf(
  device: Device,
  model: Model,
  sampleShapes: Readonly<Record<string, readonly number[]>>,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const inputs = describeModel(model).inputs.map(({ name, shape }) => {
    const batch = typeof shape[0] === "number" ? shape[0] : 2;
    const sample = sampleShapes[name] ?? shape.slice(1).map((side) => (typeof side === "number" ? side : 1));
    return [name, [batch, ...sample]];
  });
  const unknown = Object.keys(sampleShapes).filter((name) => !inputs.some(([known]) => known === name));
  for (const name of unknown) inputs.push([name, [2, ...sampleShapes[name]!]]);
  return probeShapes(device, model, Object.fromEntries(inputs));
}
