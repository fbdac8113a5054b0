import { type Model, onnx, programToModel, spec, type Tensor, trace, type Value } from "@exitkit/core-gpu";
import { CIFAR_SHAPE } from "../data/cifar.ts";
import type { PictureShape } from "../data/pictures.ts";

/** A classifier of pictures as an ONNX model: `input` float32 [n, c, h, w] → `logits` float32 [n, k]. */
export interface Backbone {
  /** "resnet20", "resnet56" or "WRN-16-4". */
  readonly name: string;
  readonly model: Model;
  readonly input: "input";
  readonly output: "logits";
  /** Tensor after each block and its activation, in order; the first is the stem's. */
  readonly blocks: readonly string[];
  /** Two of them, near a third and two thirds of the way, where little has to cross a cut: places for early exits. */
  readonly exits: readonly string[];
}

/** What a network's function computes: the class scores and the value after the stem and every block. */
export interface Traced {
  readonly logits: Value;
  readonly blocks: readonly Value[];
}

/**
 * Traces a network with its weights as named initializers.
 *
 * @param describe.exitsAfter Numbers of the blocks that {@link Backbone.exits} stand after, counted from 1.
 * @param describe.shape [c, h, w] of a picture. Default: CIFAR's.
 * @param network Symbolic pictures and weights in, {@link Traced} out.
 */
export function makeBackbone(
  describe: {
    readonly name: string;
    readonly exitsAfter: readonly number[];
    readonly shape?: PictureShape;
  },
  weights: Readonly<Record<string, Tensor>>,
  network: (input: Value, weights: Readonly<Record<string, Value>>) => Traced,
): Backbone {
  const { name, exitsAfter, shape = CIFAR_SHAPE } = describe;
  const specs = {
    input: spec("float32", ["n", ...shape]),
    weights: Object.fromEntries(Object.entries(weights).map(([key, { dtype, shape }]) => [key, spec(dtype, shape)])),
  };
  const program = trace((inputs) => {
    const { logits, blocks } = network(inputs.input, inputs.weights);
    return { logits, ...Object.fromEntries(blocks.map((block, index) => [blockName(index), block])) };
  }, specs);
  const blocks = program.outputs.flatMap((port) => (port.name === "logits" ? [] : [port.name]));
  const model = onlyLogits(programToModel(program, { constants: { weights }, name }));
  return { name, model, input: "input", output: "logits", blocks, exits: exitsAfter.map((block) => blocks[block]!) };
}

/** The blocks were outputs so that their tensors have names; from here on they are ordinary tensors. */
function onlyLogits({ proto }: Model): Model {
  const graph = proto.graph!;
  const output = graph.output.filter(({ name }) => name === "logits");
  return { proto: onnx.changed(proto, { graph: onnx.changed(graph, { output }) }) };
}

function blockName(index: number): string {
  return index === 0 ? "stem" : `block${index}`;
}
