import { readFileSync } from "node:fs";

interface DeviceFixture {
  readonly models: Readonly<Record<string, string>>;
  readonly convolution: Readonly<Record<"x" | "hidden" | "logits", readonly number[]>>;
}

const file = new URL("../../fixtures/device.json", import.meta.url);

/** Models and PyTorch's outputs, written by fixtures/generate_device.py. */
export const fixture: DeviceFixture = JSON.parse(readFileSync(file, "utf8"));

/** The bytes of one of the fixture's models. */
export function modelBytes(name: string): Uint8Array {
  const encoded = fixture.models[name];
  if (encoded === undefined) throw new Error(`no model ${name} in the fixture`);
  return new Uint8Array(Buffer.from(encoded, "base64"));
}
