import { type Model, onnx, type Tensor, tensor } from "@exitkit/core-gpu";
import type { Dependencies } from "./propagate.ts";

/** The model without the channels of some classes: smaller weights, the same operators. */
export function removeClasses(
  caller: string,
  model: Model,
  dependencies: Dependencies,
  removed: ReadonlySet<number>,
): Model {
  const { labels, cuts, splits, groups, pads, reshapes } = dependencies;
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
  const constantOf = (name: string): Tensor | undefined => {
    const held = graph.initializer.find((weight) => weight.name === name);
    if (held !== undefined) return onnx.hostTensor(caller, held);
    const producer = graph.node.find(({ output }) => output.includes(name));
    return producer === undefined ? undefined : onnx.constantTensor(caller, producer);
  };
  /** A Reshape whose target has another number in one place, if it is not inferred. */
  const withDimension = (one: onnx.NodeProto, at: number, size: number): readonly onnx.NodeProto[] => {
    const name = one.input[1]!;
    const target = constantOf(name);
    if (target !== undefined) {
      if (Number(target.data[at]) === -1) return [one];
      const data = Array.from(target.data as BigInt64Array, (value, place) => (place === at ? BigInt(size) : value));
      return [onnx.changed(one, { input: one.input.with(1, replaced(name, int64(data))) })];
    }
    // A computed target: its other numbers are taken as they come.
    const { rank } = reshapes.get(one)!;
    const nodes: onnx.NodeProto[] = [];
    const axis = onnx.create(onnx.AttributeProtoSchema, { name: "axis", type: onnx.AttributeType.INT, i: 0n });
    const made = (opType: string, input: readonly string[]): string => {
      const output = onnx.uniqueName(`${name}_part`, taken);
      const fields = { opType, input: [...input], output: [output], attribute: [axis] };
      nodes.push(onnx.create(onnx.NodeProtoSchema, fields));
      return output;
    };
    const others = (from: number, to: number): readonly string[] => {
      if (from >= to) return [];
      const places = Array.from({ length: to - from }, (_, place) => BigInt(from + place));
      return [made("Gather", [name, replaced(name, int64(places))])];
    };
    const parts = [...others(0, at), replaced(name, int64([BigInt(size)])), ...others(at + 1, rank)];
    const whole = made("Concat", parts);
    return [...nodes, onnx.changed(one, { input: one.input.with(1, whole) })];
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
  const opset = onnx.opsetOf(model);
  const node = graph.node.flatMap((one): readonly onnx.NodeProto[] => {
    const group = groups.get(one);
    if (group !== undefined && !group.every(stays)) {
      const attribute = one.attribute.map((entry) =>
        entry.name === "group" ? onnx.changed(entry, { i: BigInt(count(group)) }) : entry,
      );
      return [onnx.changed(one, { attribute })];
    }
    const parts = splits.get(one);
    if (parts !== undefined && !parts.every((part) => part.every(stays))) {
      const sizes = parts.map((part) => BigInt(count(part)));
      const attribute = one.attribute.filter(({ name }) => name !== "split" && name !== "num_outputs");
      if (opset >= 13) {
        const input = [one.input[0]!, replaced(`${one.output[0]!}_sizes`, int64(sizes))];
        return [onnx.changed(one, { attribute, input })];
      }
      const split = onnx.create(onnx.AttributeProtoSchema, {
        name: "split",
        type: onnx.AttributeType.INTS,
        ints: sizes,
      });
      return [onnx.changed(one, { attribute: [...attribute, split] })];
    }
    const pad = pads.get(one);
    if (pad !== undefined) {
      const amounts = constantOf(one.input[1]!)!;
      const data = BigInt64Array.from(amounts.data as BigInt64Array);
      data[pad.axis] = BigInt(count(pad.before));
      data[pad.axis + data.length / 2] = BigInt(count(pad.after));
      const input = one.input.with(1, replaced(one.input[1]!, tensor("int64", amounts.shape, data)));
      return [onnx.changed(one, { input })];
    }
    const reshape = reshapes.get(one);
    if (reshape === undefined || reshape.labels.every(stays)) return [one];
    return withDimension(one, reshape.at, count(reshape.labels));
  });
  // Shapes that the file states of tensors inside may be those of before; the runtime infers them.
  const smaller = onnx.changed(graph, { node, initializer: [...initializer, ...added], valueInfo: [] });
  return { proto: onnx.changed(model.proto, { graph: smaller }) };
}

function int64(numbers: readonly bigint[]): Tensor {
  return tensor("int64", [numbers.length], BigInt64Array.from(numbers));
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
