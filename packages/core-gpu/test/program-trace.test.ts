import { describe, expect, expectTypeOf, it } from "vitest";
import {
  InputError,
  layers,
  ops,
  type Spec,
  spec,
  type Tree,
  type TreeRecord,
  tensor,
  trace,
  type Value,
} from "../src/index.ts";

const x = spec("float32", ["n", 4]);

describe("the program", () => {
  it("is a list in which every value is written once, before it is read", () => {
    const weight = tensor("float32", [4, 4], new Float32Array(16));
    const program = trace(
      ({ a, b }) => {
        const both = ops.add(ops.matmul(a, weight), ops.matmul(b, weight));
        return { scaled: ops.mul(both, 0.5), shifted: ops.add(both, 0.5) };
      },
      { a: x, b: x },
    );
    const written = new Set([...program.inputs, ...program.constants].map(({ value }) => value));
    expect(written.size).toBe(program.inputs.length + program.constants.length);
    for (const node of program.nodes) {
      for (const input of node.inputs) expect(written).toContain(input);
      for (const output of node.outputs) {
        expect(written).not.toContain(output);
        written.add(output);
      }
    }
    expect([...written].sort((a, b) => a - b)).toEqual(program.values.map((_, value) => value));
    expect(program.nodes.map(({ operator }) => operator.name)).toEqual(["matmul", "matmul", "add", "mul", "add"]);
    // The weight, used twice, and 0.5, written twice, are one constant each.
    expect(program.constants.map(({ tensor }) => tensor.shape)).toEqual([[4, 4], []]);
    expect(program.constants[0]!.tensor).toBe(weight);
  });

  it("keeps +0 and −0, and numbers of different dtypes, apart", () => {
    const program = trace(({ a, i }) => ({ a: ops.mul(ops.mul(a, 0), -0), i: ops.mul(i, 0) }), {
      a: x,
      i: spec("int64", [2]),
    });
    expect(program.constants).toHaveLength(3);
  });

  it("leaves out what no output depends on, and keeps unused inputs", () => {
    const program = trace(
      ({ a }) => {
        ops.exp(a);
        return { y: ops.relu(a) };
      },
      { a: x, unused: x },
    );
    expect(program.nodes).toHaveLength(1);
    expect(program.inputs.map(({ name }) => name)).toEqual(["a", "unused"]);
  });

  it("names inputs and outputs by their paths and keeps both trees", () => {
    const specs = { images: x, layers: [{ weight: spec("float32", [3, 4]) }, { weight: spec("float32", [2, 3]) }] };
    const program = trace(({ images, layers }) => {
      const hidden = layers.map(({ weight }) => weight).reduce<Value>((h, weight) => ops.linear(h, weight), images);
      return { head: { logits: hidden }, all: [hidden, images] };
    }, specs);
    expect(program.inputs.map(({ name }) => name)).toEqual(["images", "layers.0.weight", "layers.1.weight"]);
    expect(program.outputs.map(({ name }) => name)).toEqual(["head.logits", "all.0", "all.1"]);
    expect(program.inputSpecs).toBe(specs);
    expect(program.outputSpecs).toEqual({
      head: { logits: { dtype: "float32", shape: ["n", 2] } },
      all: [
        { dtype: "float32", shape: ["n", 2] },
        { dtype: "float32", shape: ["n", 4] },
      ],
    });
  });

  it("may be deeper than the call stack", () => {
    const program = trace(
      ({ a }) => {
        let y = a;
        for (let depth = 0; depth < 50_000; depth++) y = ops.relu(y);
        return { y };
      },
      { a: x },
    );
    expect(program.nodes).toHaveLength(50_000);
  });

  it("has the types of its trees", () => {
    const program = trace(
      ({ a, rest }) => {
        expectTypeOf(a).toEqualTypeOf<Value>();
        expectTypeOf(rest.list[0]).toEqualTypeOf<Value>();
        expectTypeOf(rest.table).toEqualTypeOf<Readonly<Record<string, Value>>>();
        // @ts-expect-error there is no input of that name
        rest.missing;
        return { y: ops.relu(a), more: { z: a } };
      },
      { a: x, rest: { list: [x, x], table: { w: x } as Record<string, Spec> } },
    );
    expectTypeOf(program.outputSpecs.more.z).toEqualTypeOf<Spec>();
    expectTypeOf(program.inputSpecs.rest.list[1]).toEqualTypeOf<Spec>();
  });

  it("takes trees of which the types know nothing", () => {
    const specs: TreeRecord<Spec> = { a: [x, { b: x }] };
    const program = trace((inputs) => {
      expectTypeOf(inputs).toEqualTypeOf<{ readonly [name: string]: Tree<Value> }>();
      return inputs as TreeRecord<Value>;
    }, specs);
    expectTypeOf(program.outputSpecs).toEqualTypeOf<{ readonly [name: string]: Tree<Spec> }>();
    expect(program.outputs.map(({ name }) => name)).toEqual(["a.0", "a.1.b"]);
  });

  it("prints and serialises values without what made them", () => {
    trace(
      ({ a }) => {
        const y = ops.relu(ops.exp(a));
        expect(JSON.stringify(y)).toBe('{"dtype":"float32","shape":["n",4]}');
        return { y };
      },
      { a: x },
    );
  });
});

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(InputError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

describe("errors of operators", () => {
  it("name the operator, both shapes and the line that applied it", () => {
    const line = Number(/:(\d+):\d+\)?$/.exec(new Error().stack!.split("\n")[1]!)![1]);
    const message = messageOf(() =>
      trace(({ a, b }) => ({ y: ops.matmul(a, b) }), { a: x, b: spec("float32", [5, 2]) }),
    );
    expect(message).toContain("core-gpu.ops.matmul: ");
    expect(message).toContain("must have the same k; got float32 [n, 4] and float32 [5, 2].");
    expect(message).toContain('Operands: input "a", input "b". At ');
    expect(message).toMatch(new RegExp(`program-trace\\.test\\.ts:${line + 2}:\\d+$`));
  });

  it("name the caller's line and the parameter where a layer applies the operator", () => {
    const head = { weight: spec("float32", [3, 5]) };
    const line = Number(/:(\d+):\d+\)?$/.exec(new Error().stack!.split("\n")[1]!)![1]);
    const message = messageOf(() =>
      trace(({ a, head }) => ({ y: layers.linear(head, ops.add(ops.relu(a), tensor("float32", [], [1]))) }), {
        a: x,
        head,
      }),
    );
    expect(message).toContain('Operands: result of ops.add, input "head.weight". At ');
    expect(message).toMatch(new RegExp(`program-trace\\.test\\.ts:${line + 2}:\\d+$`));
    const constant = messageOf(() => trace(({ a }) => ({ y: ops.add(a, tensor("float32", [7])) }), { a: x }));
    expect(constant).toContain('Operands: input "a", a constant. At ');
  });

  it("name the line of wrong options too", () => {
    const given = { strides: 2 } as object;
    expect(messageOf(() => ops.maxPool(tensor("float32", [1, 1, 4, 4]), given as never))).toMatch(
      /ops\.maxPool: options must be valid; .*unknown option "strides".*program-trace\.test\.ts:\d+:\d+$/,
    );
  });

  const f = (...shape: (number | string)[]) => ({ kind: "float32" as const, shape });
  const i = (...shape: (number | string)[]) => ({ kind: "int64" as const, shape });
  const b = (...shape: (number | string)[]) => ({ kind: "bool" as const, shape });
  type Case = readonly [
    string,
    readonly ReturnType<typeof f | typeof i | typeof b>[],
    (...v: Value[]) => unknown,
    RegExp,
  ];
  const cases: readonly Case[] = [
    [
      "add: shapes",
      [f("n", 3), f("m", 3)],
      (p, q) => ops.add(p!, q!),
      /ops\.add: shapes must broadcast.*got float32 \[n, 3\] and float32 \[m, 3\]/,
    ],
    [
      "add: dtypes",
      [f(2), i(2)],
      (p, q) => ops.add(p!, q!),
      /same dtype; got float32 \[2\] and int64 \[2\]\. Use ops\.cast/,
    ],
    ["add: bool", [b(2)], (p) => ops.add(p!, p!), /dtype must be float32 or float64 or int32 or int64/],
    [
      "add: fraction beside integers",
      [i(2)],
      (p) => ops.add(p!, 0.5),
      /a number beside int64 operands must be whole; got 0\.5/,
    ],
    [
      "add: not an operand",
      [f(2)],
      (p) => ops.add(p!, undefined as never),
      /operand 2 must be a traced value, a tensor or a number; got undefined/,
    ],
    ["relu: dtype", [i(2)], (p) => ops.relu(p!), /ops\.relu: dtype must be float32 or float64/],
    ["and: dtype", [f(2)], (p) => ops.and(p!, p!), /dtype must be bool/],
    ["where: condition", [f(2)], (p) => ops.where(p!, p!, p!), /the condition must be bool/],
    [
      "clip: limits",
      [f(2)],
      (p) => ops.clip(p!, { minimum: 2, maximum: 1 }),
      /minimum must not be above maximum; got 2 and 1/,
    ],
    ["clip: whole", [i(2)], (p) => ops.clip(p!, { minimum: 0.5 }), /limits of whole numbers must be whole/],
    ["cast: dtype", [f(2)], (p) => ops.cast(p!, "float16" as never), /unknown dtype; got "float16"/],
    [
      "softmax: axis",
      [f(2, 3)],
      (p) => ops.softmax(p!, { axis: 2 }),
      /axis must be a whole number from -2 to 1; got 2/,
    ],
    ["matmul: vectors", [f(3)], (p) => ops.matmul(p!, p!), /2 dimensions or more/],
    ["matmul: batch", [f(2, 3, 3), f(4, 3, 3)], (p, q) => ops.matmul(p!, q!), /before the last two must broadcast/],
    [
      "linear: d",
      [f("n", 3), f(5, 4)],
      (p, q) => ops.linear(p!, q!),
      /must have the same d.*got float32 \[n, 3\] and float32 \[5, 4\]/,
    ],
    ["linear: bias", [f("n", 3), f(5, 3), f(3)], (p, q, r) => ops.linear(p!, q!, r!), /bias must have shape \[k\]/],
    ["conv: channels", [f("n", 4, 8, 8), f(8, 3, 3, 3)], (p, q) => ops.conv(p!, q!), /x must have 3 channels/],
    [
      "conv: groups",
      [f("n", 4, 8, 8), f(3, 2, 3, 3)],
      (p, q) => ops.conv(p!, q!, { groups: 2 }),
      /multiple of the 2 groups/,
    ],
    ["conv: rank", [f("n", 4), f(3, 4)], (p, q) => ops.conv(p!, q!), /x must be \[n, c, w\] or \[n, c, h, w\]/],
    [
      "conv: window",
      [f("n", 4, 2, 2), f(3, 4, 5, 5)],
      (p, q) => ops.conv(p!, q!, { padding: 1 }),
      /window must not be larger.*window 5, padded size 4/,
    ],
    [
      "conv: stride",
      [f("n", 4, 8, 8), f(3, 4, 3, 3)],
      (p, q) => ops.conv(p!, q!, { stride: 0 }),
      /stride must be a whole number ≥ 1, or 2 of them; got 0/,
    ],
    [
      "conv: padding",
      [f("n", 4, 8, 8), f(3, 4, 3, 3)],
      (p, q) => ops.conv(p!, q!, { padding: [1] }),
      /padding must be .* 2 of them; got \[1\]/,
    ],
    [
      "maxPool: padding",
      [f("n", 4, 8, 8)],
      (p) => ops.maxPool(p!, { kernel: 2, padding: 2 }),
      /padding must be smaller than the kernel/,
    ],
    [
      "batchNorm: parameters",
      [f("n", 4, 8), f(4), f(3)],
      (p, q, r) => ops.batchNorm(p!, q!, r!, q!, q!),
      /must have shape \[4\]/,
    ],
    ["layerNorm: parameters", [f("n", 4), f(3)], (p, q) => ops.layerNorm(p!, q!, q!), /must have shape \[4\]/],
    ["sum: axes", [f(2, 3)], (p) => ops.sum(p!, { axes: [0, -2] }), /axes must be distinct/],
    ["argMax: empty", [f(2, 0)], (p) => ops.argMax(p!), /must not be empty/],
    [
      "reshape: size",
      [f("n", 6)],
      (p) => ops.reshape(p!, ["n", 5]),
      /number of elements must stay the same; got \[n, 6\] to \[n, 5\]/,
    ],
    ["reshape: symbol", [f("n", 6)], (p) => ops.reshape(p!, ["m", 6]), /number of elements/],
    [
      "reshape: -1",
      [f("n", 6)],
      (p) => ops.reshape(p!, [-1, 4]),
      /-1 must have a whole solution; got \[n, 6\] to \[-1, 4\]/,
    ],
    ["reshape: two -1", [f(6)], (p) => ops.reshape(p!, [-1, -1]), /one of them may be -1/],
    ["flatten: axis", [f(6)], (p) => ops.flatten(p!, 2), /axis must be from 0 to 1; got 2/],
    ["transpose", [f(2, 3)], (p) => ops.transpose(p!, [0, 0]), /must hold each of 0 to 1 once; got \[0, 0\]/],
    ["concat: shapes", [f("n", 3), f("n", 4)], (p, q) => ops.concat([p!, q!], 0), /equal except on axis 0/],
    ["concat: none", [], () => ops.concat([], 0), /at least one operand/],
    ["expand", [f("n", 3)], (p) => ops.expand(p!, ["m", 3]), /ops\.expand: shapes must broadcast/],
    ["squeeze", [f("n", 3)], (p) => ops.squeeze(p!, 1), /only dimensions of size 1/],
    [
      "pad: count",
      [f("n", 3)],
      (p) => ops.pad(p!, [[0, 1]]),
      /one \[before, after\] is needed for each of 2 dimensions/,
    ],
    [
      "pad: negative",
      [f("n", 3)],
      (p) =>
        ops.pad(p!, [
          [0, 0],
          [-1, 0],
        ]),
      /amounts must be ≥ 0/,
    ],
    [
      "pad: reflect",
      [f("n", 3)],
      (p) =>
        ops.pad(
          p!,
          [
            [0, 0],
            [3, 0],
          ],
          { mode: "reflect" },
        ),
      /reflection cannot pad/,
    ],
    [
      "slice: symbolic",
      [f("n", 3)],
      (p) => ops.slice(p!, { axis: 0, to: 2 }),
      /on the symbolic dimension n a range must run to the end/,
    ],
    ["slice: step", [f("n", 3)], (p) => ops.slice(p!, { axis: 1, step: 0 }), /step must not be 0/],
    ["slice: twice", [f("n", 3)], (p) => ops.slice(p!, [{ axis: 1 }, { axis: -1 }]), /each axis may be sliced once/],
    ["gather: indices", [f("n", 3), f(2)], (p, q) => ops.gather(p!, q!), /dtype must be int32 or int64/],
    ["topK: k", [f("n", 3)], (p) => ops.topK(p!, 4), /k must be at most 3.*got 4/],
    [
      "compress: condition",
      [f("n", 3), b("m")],
      (p, q) => ops.compress(p!, q!, { kept: "kept" }),
      /as many elements as axis 0/,
    ],
    ["compress: kept", [f("n", 3), b("n")], (p, q) => ops.compress(p!, q!, {} as never), /option "kept"/],
  ];
  it.each(cases)("%s", (_, operands, apply, expected) => {
    const specs = operands.map(({ kind, shape }) => spec(kind, shape));
    const message = messageOf(() => trace(({ inputs }) => ({ y: apply(...inputs) as Value }), { inputs: specs }));
    expect(message).toMatch(expected);
    expect(message).toMatch(/program-trace\.test\.ts:\d+:\d+$/);
  });
});

describe("errors of trace", () => {
  it("a value of another trace", () => {
    let leaked: Value | undefined;
    trace(
      ({ a }) => {
        leaked = a;
        return { y: ops.relu(a) };
      },
      { a: x },
    );
    expect(messageOf(() => trace(({ b }) => ({ y: ops.add(b, leaked!) }), { b: x }))).toMatch(
      /core-gpu\.trace: .*only its own inputs and constants; got input "a" of another trace/,
    );
  });

  it.each<readonly [string, () => unknown, RegExp]>([
    [
      "the same path twice",
      () => trace((v) => ({ y: v["a.b"]! }), { "a.b": x, a: { b: x } }),
      /every path must be unique; got "a\.b" twice/,
    ],
    [
      "a bare leaf",
      () => trace((v) => ({ y: v as never }), x as never),
      /a record of named leaves is expected; got a bare leaf/,
    ],
    ["a bare result", () => trace(({ a }) => a as never, { a: x }), /a record of named leaves is expected/],
    ["no result", () => trace(() => undefined as never, { a: x }), /plain records, arrays and leaves.*undefined/],
    ["a promise", () => trace((async () => ({})) as never, { a: x }), /got a Promise/],
    [
      "a tensor as result",
      () => trace(() => ({ y: tensor("float32", [1]) as never }), { a: x }),
      /must return traced values; got something else at "y"/,
    ],
    ["a number as spec", () => trace(({ a }) => ({ y: a as never }), { a: 3 as never }), /got 3 at "a"/],
    ["a bad dimension", () => spec("float32", [-1]), /core-gpu\.spec: .*got \[-1\]/],
    ["a bad symbol", () => spec("float32", ["n*2"]), /core-gpu\.spec: .*got \[n\*2\]/],
  ])("%s", (_, action, expected) => {
    expect(messageOf(action)).toMatch(expected);
  });
});
