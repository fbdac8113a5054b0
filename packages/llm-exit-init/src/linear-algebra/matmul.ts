import { type Device, ops, programToModel, spec, type Tensor, trace } from "@exitkit/core-gpu";

/** Which of two matrices are taken transposed. */
export interface MatmulOptions {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
}

/** A · B of float64 matrices on the device. */
export async function matmul(
  device: Device,
  a: Tensor<"float64">,
  b: Tensor<"float64">,
  { transposeA = false, transposeB = false }: MatmulOptions = {},
): Promise<Tensor<"float64">> {
  const turned = (value: Parameters<typeof ops.transpose>[0], turn: boolean) =>
    turn ? ops.transpose(value, [1, 0]) : value;
  const program = trace(
    (given) => ({ product: ops.matmul(turned(given.a, transposeA), turned(given.b, transposeB)) }),
    {
      a: spec("float64", a.shape),
      b: spec("float64", b.shape),
    },
  );
  const session = await device.load(programToModel(program));
  try {
    const { product } = await session.run({ a, b });
    return product as Tensor<"float64">;
  } finally {
    await session.release();
  }
}
