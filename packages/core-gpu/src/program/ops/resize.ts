import { z } from "zod";
import { checkArguments } from "../../arguments.ts";
import { InputError } from "../../errors.ts";
import { type Tensor, tensor } from "../../tensor.ts";
import { type Operator, refuse, requireDType } from "../operator.ts";
import { printSpec } from "../spec.ts";
import { applyOne, operatorOptions, type Value } from "../value.ts";
import { squeeze, unsqueeze } from "./shape.ts";

type Coordinates = "halfPixel" | "alignCorners" | "asymmetric";
type Rounding = "floor" | "ceil" | "roundPreferFloor" | "roundPreferCeil";

interface ResizeAttributes {
  readonly height: number;
  readonly width: number;
  readonly mode: "nearest" | "bilinear";
  readonly coordinates: Coordinates;
  readonly rounding: Rounding;
}

const onnxCoordinates = { halfPixel: "half_pixel", alignCorners: "align_corners", asymmetric: "asymmetric" } as const;
const onnxRounding = {
  floor: "floor",
  ceil: "ceil",
  roundPreferFloor: "round_prefer_floor",
  roundPreferCeil: "round_prefer_ceil",
} as const;

const Resize: Operator<ResizeAttributes> = {
  name: "resize",
  onnx: "Resize",
  infer([x], { height, width }) {
    requireDType(["float32"], x!);
    const { dtype, shape } = x!;
    if (shape.length !== 4 || shape.slice(2).some((size) => typeof size !== "number" || size < 1)) {
      refuse("x must be [n, c, h, w] with known h and w ≥ 1");
    }
    return [{ dtype, shape: [shape[0]!, shape[1]!, height, width] }];
  },
  gradient({ ops, attributes, operands: [x], gradients: [d] }) {
    const [height, width] = x!.shape.slice(2) as [number, number];
    const across = width === attributes.width ? d! : ops.matmul(d!, weights(width, attributes.width, attributes));
    if (height === attributes.height) return [across];
    return [ops.matmul(weights(height, attributes.height, attributes), across, { transposeA: true })];
  },
  emit({ graph, attributes: { mode, coordinates, rounding }, inputs: [x], outputs, inputSpecs, outputSpecs }) {
    const none = graph.opset >= 13 ? "" : graph.constant(tensor("float32", [0], []));
    const sizes = graph.shape(outputSpecs[0]!.shape, [{ name: x!, spec: inputSpecs[0]! }]);
    const shared = { coordinate_transformation_mode: onnxCoordinates[coordinates] };
    const special = mode === "nearest" ? { mode: "nearest", nearest_mode: onnxRounding[rounding] } : { mode: "linear" };
    graph.node("Resize", [x!, none, none, sizes], { ...shared, ...special }, outputs);
  },
};

/** The resizing of one axis as a matrix [to, from]: a resized row is this times the row. */
function weights(from: number, to: number, attributes: ResizeAttributes): Tensor {
  const data = new Float32Array(to * from);
  for (let place = 0; place < to; place++) {
    const at = sourceOf(place, from, to, attributes.coordinates);
    if (attributes.mode === "nearest") {
      data[place * from + inside(rounded(at, attributes.rounding), from)] = 1;
    } else {
      const low = Math.floor(at);
      data[place * from + inside(low, from)]! += 1 - (at - low);
      data[place * from + inside(low + 1, from)]! += at - low;
    }
  }
  return tensor("float32", [to, from], data);
}

function inside(index: number, size: number): number {
  return Math.min(Math.max(index, 0), size - 1);
}

function sourceOf(place: number, from: number, to: number, coordinates: Coordinates): number {
  if (coordinates === "alignCorners") return to === 1 ? 0 : (place * (from - 1)) / (to - 1);
  if (coordinates === "asymmetric") return (place * from) / to;
  return ((place + 0.5) * from) / to - 0.5;
}

function rounded(at: number, rounding: Rounding): number {
  if (rounding === "floor") return Math.floor(at);
  if (rounding === "ceil") return Math.ceil(at);
  return rounding === "roundPreferFloor" ? Math.ceil(at - 0.5) : Math.floor(at + 0.5);
}

export const operators = [Resize] as readonly Operator[];

/** Options of {@link resize}. */
export interface ResizeOptions {
  /** The nearest element, or a mean of the 2 × 2 around weighted by distance. Default `bilinear`. */
  readonly mode?: "nearest" | "bilinear";
  /**
   * Where element i of the new axis lies on the old one, of sizes b and a: `(i + ½) · a/b − ½` (`"halfPixel"`, the default
   * of `bilinear`), `i · (a − 1)/(b − 1)` (`"alignCorners"`) or `i · a/b` (`"asymmetric"`, the default of `nearest`).
   */
  readonly coordinates?: Coordinates;
  /** What `nearest` makes of a place between two elements. Default `floor`. */
  readonly rounding?: Rounding;
}

const resizeOptions = z.strictObject({
  size: z.array(z.int().min(1)).min(1).max(2),
  mode: z.enum(["nearest", "bilinear"]).default("bilinear"),
  coordinates: z.enum(["halfPixel", "alignCorners", "asymmetric"]).optional(),
  rounding: z.enum(["floor", "ceil", "roundPreferFloor", "roundPreferCeil"]).default("floor"),
});

/**
 * Pictures [n, c, h, w] or sequences [n, c, w] in another size, without antialiasing; float32. The defaults of both modes
 * are those of PyTorch's `interpolate`; its `nearest-exact` is `halfPixel` with `roundPreferCeil`. ONNX Resize.
 *
 * @param size [h, w] of the result, or [w].
 * @throws InputError where the size does not have one number ≥ 1 for each of the last dimensions, or those are symbolic.
 * @example
 * ```ts
 * import { ops, spec, trace } from "@exitkit/core-gpu";
 * const program = trace(({ x }) => ({ y: ops.resize(x, [8, 8], { mode: "nearest" }) }), { x: spec("float32", ["n", 3, 4, 4]) });
 * console.assert(program.outputs[0]?.spec.shape.join() === "n,3,8,8");
 * ```
 */
export function resize(x: Value | Tensor, size: readonly number[], options?: ResizeOptions): Value {
  checkArguments("core-gpu.ops.resize", { x: [x, "a traced value or a tensor"], size: [size, "a shape"] });
  const checked = operatorOptions("resize", resizeOptions, { ...options, size: [...size] });
  const { mode, rounding } = checked;
  if (checked.size.length !== x.shape.length - 2) {
    const actual = `[${size.join(", ")}] for ${printSpec(x)}`;
    throw new InputError("core-gpu.ops.resize", "x must be [n, c, h, w] and size [h, w], or [n, c, w] and [w]", actual);
  }
  const coordinates = checked.coordinates ?? (mode === "nearest" ? "asymmetric" : "halfPixel");
  const [width, height = 1] = [...checked.size].reverse() as [number, number?];
  const attributes = { height, width, mode, coordinates, rounding };
  if (x.shape.length === 4) return applyOne(Resize, [x], attributes);
  return squeeze(applyOne(Resize, [unsqueeze(x, 2)], attributes), 2);
}
