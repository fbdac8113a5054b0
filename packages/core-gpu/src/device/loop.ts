import { create } from "@bufbuild/protobuf";
import type { Model } from "../onnx/model.ts";
import {
  AttributeProtoSchema,
  AttributeProto_AttributeType as AttributeType,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  type ValueInfoProto,
} from "../onnx/onnx_pb.ts";
import { onnxGraph, valueInfo } from "../program/onnx-graph.ts";
import type { Spec } from "../program/spec.ts";
import type { Port, Program } from "../program/trace.ts";
import { tensor } from "../tensor.ts";
import type { StatePlan } from "./state.ts";

/** Names in the model by the names of ports. */
export interface PortNames {
  readonly inputs: ReadonlyMap<string, string>;
  readonly outputs: ReadonlyMap<string, string>;
}

/**
 * The plan of several steps in one run: what is fed and returned gets a first dimension, the step.
 *
 * @returns The plan and the symbol of that dimension.
 */
export function plannedSteps(
  plan: StatePlan,
  program: Program<unknown, unknown>,
): { readonly plan: StatePlan; readonly symbol: string } {
  let symbol = "steps";
  while (program.values.some(({ shape }) => shape.some((dimension) => String(dimension).includes(symbol))))
    symbol += "_";
  const stacked = (port: Port): Port => ({ ...port, spec: withSteps(port.spec, symbol) });
  return { plan: { ...plan, feeds: plan.feeds.map(stacked), results: plan.results.map(stacked) }, symbol };
}

const withSteps = ({ dtype, shape }: Spec, symbol: string): Spec => ({ dtype, shape: [symbol, ...shape] });

/**
 * Puts the graph of one step into an ONNX Loop that carries the state from step to step.
 *
 * @param model One step, its outputs called `outputs`.
 * @param plan That of one step.
 * @param steps Steps in a run of a program that is fed nothing; otherwise the feeds' first dimension counts them.
 */
export function loopModel(
  model: Model,
  plan: StatePlan,
  outputs: ReadonlyMap<string, string>,
  symbol: string,
  steps: number,
): { readonly model: Model; readonly names: PortNames } {
  const step = model.proto.graph!;
  const taken = [...step.input, ...step.output, ...step.initializer].map(({ name }) => name);
  // The loop and its body share one space of names, so both graphs take theirs from one place.
  const opset = Number(model.proto.opsetImport[0]!.version);
  const outer = onnxGraph(opset, [...taken, ...step.node.flatMap((node) => node.output)]);
  const [iteration, condition, goesOn] = ["iteration", "condition", "goes_on"].map(outer.fresh) as [
    string,
    string,
    string,
  ];
  const inputs = new Map(plan.state.map(({ name }) => [name, name]));

  const fed = plan.feeds.map((port) => {
    const name = outer.fresh(`${port.name}/steps`);
    inputs.set(port.name, name);
    return { name, port };
  });
  const moving = plan.state.filter(({ name }) => plan.next.has(name));
  for (const { name } of moving) inputs.set(name, outer.fresh(`${name}/first`));
  const ends = new Map(
    [...moving, ...plan.results].map(({ name }) => [name, outer.fresh(`${outputs.get(name)!}/last`)] as const),
  );

  const bodyNodes = onnxGraph(opset, []);
  for (const { name, port } of fed) bodyNodes.node("Gather", [name, iteration], { axis: 0 }, [port.name]);
  bodyNodes.node("Identity", [condition], {}, [goesOn]);
  const infos = new Map([...step.input, ...step.output].map((info) => [info.name, info]));
  const known = (name: string): ValueInfoProto => infos.get(name)!;
  const body = create(GraphProtoSchema, {
    name: "step",
    node: [...bodyNodes.nodes, ...step.node],
    initializer: step.initializer,
    input: [
      valueInfo(iteration, { dtype: "int64", shape: [] }),
      valueInfo(condition, { dtype: "bool", shape: [] }),
      ...moving.map(({ name }) => known(name)),
    ],
    output: [
      valueInfo(goesOn, { dtype: "bool", shape: [] }),
      ...[...moving, ...plan.results].map(({ name }) => known(outputs.get(name)!)),
    ],
  });

  const [first] = fed;
  const count =
    first === undefined
      ? outer.constant(tensor("int64", [], [steps]))
      : outer.node("Gather", [outer.node("Shape", [first.name]), outer.constant(tensor("int64", [], [0]))], {
          axis: 0,
        });
  const loop = create(NodeProtoSchema, {
    name: "steps",
    opType: "Loop",
    input: [count, "", ...moving.map(({ name }) => inputs.get(name)!)],
    output: [...ends.values()],
    attribute: [create(AttributeProtoSchema, { name: "body", type: AttributeType.GRAPH, g: body })],
  });

  const graph = create(GraphProtoSchema, {
    name: step.name,
    node: [...outer.nodes, loop],
    initializer: [...outer.initializers],
    input: [
      ...fed.map(({ name, port }) => valueInfo(name, withSteps(port.spec, symbol))),
      ...plan.state.map(({ name, spec }) => valueInfo(inputs.get(name)!, spec)),
    ],
    output: [
      ...moving.map(({ name, spec }) => valueInfo(ends.get(name)!, spec)),
      ...plan.results.map(({ name, spec }) => valueInfo(ends.get(name)!, withSteps(spec, symbol))),
    ],
  });
  const proto = create(ModelProtoSchema, { ...model.proto, graph });
  return { model: { proto }, names: { inputs, outputs: ends } };
}
