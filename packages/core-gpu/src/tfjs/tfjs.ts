/** What of a tfjs tensor is used here. */
export interface TfjsTensor {
  readonly id: number;
  readonly shape: number[];
  readonly dtype: string;
  data(): Promise<unknown>;
  dataSync(): unknown;
  dispose(): void;
  clone(): TfjsTensor;
}

/** The dtypes of tfjs that programs use. */
export type TfjsDType = "float32" | "int32" | "bool";

type Pair = (a: TfjsTensor, b: TfjsTensor) => TfjsTensor;
type Each = (x: TfjsTensor) => TfjsTensor;
type Reduction = (x: TfjsTensor, axes?: number[], keepDimensions?: boolean) => TfjsTensor;

/**
 * What is used of tfjs: `@tensorflow/tfjs`, `tfjs-core` with any back end, `tfjs-node` and `tfjs-node-gpu` all have it.
 * Structural, so that this package depends on none of them.
 */
export interface Tfjs {
  getBackend(): string;
  tidy(fn: () => TfjsTensor[]): TfjsTensor[];
  tensor(values: Float32Array | Int32Array | Uint8Array, shape: number[], dtype: TfjsDType): TfjsTensor;
  scalar(value: number | boolean, dtype: TfjsDType): TfjsTensor;
  fill(shape: number[], value: number, dtype: TfjsDType): TfjsTensor;
  range(start: number, stop: number, step: number, dtype: "int32"): TfjsTensor;

  add: Pair;
  sub: Pair;
  mul: Pair;
  div: Pair;
  floorDiv: Pair;
  mod: Pair;
  minimum: Pair;
  maximum: Pair;
  pow: Pair;
  neg: Each;
  abs: Each;
  exp: Each;
  log: Each;
  sqrt: Each;
  floor: Each;
  ceil: Each;
  round: Each;
  erf: Each;
  sin: Each;
  cos: Each;
  sign: Each;
  relu: Each;
  sigmoid: Each;
  tanh: Each;
  softplus: Each;

  greater: Pair;
  greaterEqual: Pair;
  less: Pair;
  lessEqual: Pair;
  equal: Pair;
  logicalAnd: Pair;
  logicalOr: Pair;
  logicalNot: Each;
  where(condition: TfjsTensor, a: TfjsTensor, b: TfjsTensor): TfjsTensor;
  cast(x: TfjsTensor, dtype: TfjsDType): TfjsTensor;

  sum: Reduction;
  max: Reduction;
  min: Reduction;
  argMax(x: TfjsTensor, axis: number): TfjsTensor;
  argMin(x: TfjsTensor, axis: number): TfjsTensor;
  cumsum(x: TfjsTensor, axis: number, exclusive: boolean, reverse: boolean): TfjsTensor;
  topk(x: TfjsTensor, k: number, sorted: boolean): { values: TfjsTensor; indices: TfjsTensor };

  matMul(a: TfjsTensor, b: TfjsTensor, transposeA?: boolean, transposeB?: boolean): TfjsTensor;
  conv2d(
    x: TfjsTensor,
    filter: TfjsTensor,
    strides: [number, number],
    pad: "valid",
    dataFormat: "NHWC",
    dilations: [number, number],
  ): TfjsTensor;
  depthwiseConv2d(
    x: TfjsTensor,
    filter: TfjsTensor,
    strides: [number, number],
    pad: "valid",
    dataFormat: "NHWC",
    dilations: [number, number],
  ): TfjsTensor;

  image: {
    resizeBilinear(x: TfjsTensor, size: [number, number], corners: boolean, halfPixel: boolean): TfjsTensor;
  };

  reshape(x: TfjsTensor, shape: number[]): TfjsTensor;
  transpose(x: TfjsTensor, permutation: number[]): TfjsTensor;
  concat(tensors: TfjsTensor[], axis: number): TfjsTensor;
  tile(x: TfjsTensor, repetitions: number[]): TfjsTensor;
  pad(x: TfjsTensor, amounts: [number, number][], value?: number): TfjsTensor;
  slice(x: TfjsTensor, begin: number[], size: number[]): TfjsTensor;
  stridedSlice(x: TfjsTensor, begin: number[], end: number[], strides: number[]): TfjsTensor;
  reverse(x: TfjsTensor, axes: number[]): TfjsTensor;
  gather(x: TfjsTensor, indices: TfjsTensor, axis: number): TfjsTensor;
  scatterND(indices: TfjsTensor, updates: TfjsTensor, shape: number[]): TfjsTensor;
}

/** A tfjs module, as far as its type must tell: it has the functions of `Tfjs`, whatever their types call a tensor. */
export type TfjsModule = Functions<Omit<Tfjs, "image">> & { readonly image: Functions<Tfjs["image"]> };

type Functions<T> = { readonly [Name in keyof T]: (...args: never[]) => unknown };
