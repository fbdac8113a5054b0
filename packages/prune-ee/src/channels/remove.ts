import { type Model, onnx, type Tensor, tensor } from "@exitkit/core-gpu";
import type { Dependencies } from "./propagate.ts";

/** The model without the channels of some classes: smaller weights, the same operators. */
export function removeClasses(
  caller: string,
  model: Model,
  dependencies: Dependencies,
  removed: ReadonlySet<number>,
): Model {
  const { labels, cuts, groups, pads, reshapes } = dependencies;
  const graph = model.proto.graph!;
  const stays = (label: number) => !removed.has(labels.classOf(label));
  const count = (along: Int32Array) => along.reduce((sum, label) => sum + (stays(label) ? 1 : 0), 0);
  const taken = new Set([...graph.initializer.map(({ name }) => name), ...graph.node.flatMap(({ output }) => output)]);
  const added: onnx.TensorProto[] = [];
  const replaced = (name: string, value: Tensor): string => {
    const fresh = onnx.uniqueName(`${name}_kept`, taken);
    added.push(onnx.tensorProto(fresh, value));
    return fresh;
  };
  const constantOf = (name: string): Tensor => {
    const held = graph.initializer.find((weight) => weight.name === name);
    if (held !== undefined) return onnx.hostTensor(caller, held);
    return onnx.constantTensor(caller, graph.node.find(({ output }) => output.includes(name))!)!;
  };
  const initializer = graph.initializer.map((weight) => {
    const axes = [...(cuts.get(weight.name) ?? [])].filter(([, along]) => !along.every(stays));
    if (axes.length === 0) return weight;
    const cut = axes.reduce(
      (held, [axis, along]) => takeAlong(held, axis, along, stays),
      onnx.hostTensor(caller, weight),
    );
    return onnx.tensorProto(weight.name, cut);
  });
  const node = graph.node.map((one) => {
    const group = groups.get(one);
    if (group !== undefined && !group.every(stays)) {
      const attribute = one.attribute.map((entry) =>
        entry.name === "group" ? onnx.changed(entry, { i: BigInt(count(group)) }) : entry,
      );
      return onnx.changed(one, { attribute });
    }
    const pad = pads.get(one);
    if (pad !== undefined) {
      const amounts = constantOf(one.input[1]!);
      const data = BigInt64Array.from(amounts.data as BigInt64Array);
      data[pad.axis] = BigInt(count(pad.before));
      data[pad.axis + data.length / 2] = BigInt(count(pad.after));
      const input = one.input.with(1, replaced(one.input[1]!, tensor("int64", amounts.shape, data)));
      return onnx.changed(one, { input });
    }
    const reshape = reshapes.get(one);
    if (reshape === undefined || reshape.labels.every(stays)) return one;
    const target = constantOf(one.input[1]!);
    const data = BigInt64Array.from(target.data as BigInt64Array);
    data[reshape.at] = BigInt(count(reshape.labels));
    return onnx.changed(one, {
      input: one.input.with(1, replaced(one.input[1]!, tensor("int64", target.shape, data))),
    });
  });
  // Shapes that the file states of tensors inside may be those of before; the runtime infers them.
  const smaller = onnx.changed(graph, { node, initializer: [...initializer, ...added], valueInfo: [] });
  return { proto: onnx.changed(model.proto, { graph: smaller }) };
}

/** What stays of a tensor along one axis. */
function takeAlong(held: Tensor, axis: number, along: Int32Array, stays: (label: number) => boolean): Tensor {
  const kept = Int32Array.from(along.keys()).filter((at) => stays(along[at]!));
  const inner = held.shape.slice(axis + 1).reduce((size, side) => size * side, 1);
  const outer = held.shape.slice(0, axis).reduce((size, side) => size * side, 1);
  const shape = held.shape.with(axis, kept.length);
  const result = tensor(held.dtype, shape) as Tensor;
  for (let block = 0; block < outer; block++) {
    kept.forEach((from, to) => {
      const start = (block * along.length + from) * inner;
      const target = (block * kept.length + to) * inner;
      (result.data as Float32Array).set((held.data as Float32Array).subarray(start, start + inner), target);
    });
  }
  return result;
}
