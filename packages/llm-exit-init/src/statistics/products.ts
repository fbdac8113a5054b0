import { type Device, ops, programToModel, type Session, spec, type Tensor, tensor, trace } from "@exitkit/core-gpu";

/** Multiplies the rows of a batch on the device. */
export interface Multiplier {
  /** Σ x xᵀ [d, d] and, with z, Σ x zᵀ [d, d′], of x [m, d] and z [m, d′]; buffers that the next call reuses. */
  multiply(
    x: Float32Array,
    z: Float32Array | null,
    m: number,
  ): Promise<{ gram: Float32Array; cross: Float32Array | null }>;
  release(): Promise<void>;
}

/** Compiles Xᵀ [X | Z] for the device: one matrix product a batch. */
export async function openMultiplier(device: Device, d: number, last: number | null): Promise<Multiplier> {
  const product = (x: Parameters<typeof ops.matmul>[0], other: Parameters<typeof ops.matmul>[1]) =>
    ops.matmul(ops.transpose(x as never, [1, 0]), other);
  const program =
    last === null
      ? trace(({ x }) => ({ gram: product(x, x) }), { x: spec("float32", ["m", d]) })
      : trace(({ x, z }) => ({ gram: product(x, x), cross: product(x, z) }), {
          x: spec("float32", ["m", d]),
          z: spec("float32", ["m", last]),
        });
  const session: Session = await device.load(programToModel(program));
  const gram = tensor("float32", [d, d]);
  const cross = last === null ? null : tensor("float32", [d, last]);
  return {
    async multiply(x, z, m) {
      const feeds: Record<string, Tensor> = { x: tensor("float32", [m, d], x) };
      if (z !== null && last !== null) feeds.z = tensor("float32", [m, last], z);
      await session.run(feeds, { into: { gram, ...(cross === null ? {} : { cross }) } });
      return { gram: gram.data, cross: cross?.data ?? null };
    },
    release: () => session.release(),
  };
}
