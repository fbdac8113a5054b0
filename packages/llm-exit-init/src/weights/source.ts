import { InputError, type Tensor } from "@exitkit/core-gpu";

/** Named tensors of a model's files, read one at a time. */
export interface WeightSource {
  /** Where they come from, for messages. */
  readonly source: string;
  /** Every tensor's shape, by name. */
  readonly shapes: ReadonlyMap<string, readonly number[]>;
  /** float32, whatever the file's numbers are. */
  read(name: string): Promise<Tensor<"float32">>;
}

/** Where a parameter comes from: a tensor of the file, and what is done to it. */
export interface WeightPlan {
  /** The tensor's name in the file. */
  readonly name: string;
  /** Its shape there. */
  readonly shape: readonly number[];
  /** Makes the parameter of it. Default: it is the parameter. */
  readonly take?: (tensor: Tensor<"float32">) => Tensor<"float32">;
}

/** A tree of plans: the structure of the parameters. */
export type PlanTree = WeightPlan | readonly PlanTree[] | { readonly [name: string]: PlanTree };

function isPlan(tree: PlanTree): tree is WeightPlan {
  return typeof (tree as WeightPlan).name === "string" && Array.isArray((tree as WeightPlan).shape);
}

/** The plans of a tree, in order. */
function plansOf(tree: PlanTree): readonly WeightPlan[] {
  return isPlan(tree) ? [tree] : Object.values(tree).flatMap(plansOf);
}

/**
 * Checks that the files hold what the plans want and nothing else of weight.
 *
 * @param ignored Tensors that are no parameters: tables and masks that the program makes itself.
 * @returns Number of elements that the parameters will have.
 * @throws InputError naming tensors that are missing, of another shape, or that nothing would read.
 */
export function checkWeights(
  caller: string,
  { source, shapes }: WeightSource,
  tree: PlanTree,
  ignored: RegExp,
): number {
  const wanted = new Map(plansOf(tree).map(({ name, shape }) => [name, shape]));
  const missing = [...wanted.keys()].filter((name) => !shapes.has(name));
  if (missing.length > 0) {
    const fix = "The files are of another model than their configuration says, or incomplete.";
    throw new InputError(caller, `${source} must hold the tensor "${missing[0]}"`, `${missing.length} missing`, fix);
  }
  for (const [name, shape] of wanted) {
    const found = shapes.get(name)!;
    if (found.join() === shape.join()) continue;
    const actual = `[${found.join(", ")}]`;
    throw new InputError(caller, `"${name}" of ${source} must be [${shape.join(", ")}]`, actual);
  }
  const unread = [...shapes.keys()].filter((name) => !wanted.has(name) && !ignored.test(name));
  if (unread.length > 0) {
    const actual = `${unread.length} that nothing reads, "${unread[0]}" among them`;
    throw new InputError(caller, `${source} must hold only tensors of its architecture`, actual);
  }
  return [...wanted.values()].reduce((sum, shape) => sum + shape.reduce((size, side) => size * side, 1), 0);
}

/** Reads the parameters of a tree of plans; a tensor of which several in a row take parts is read once. */
export async function readWeights(source: WeightSource, tree: PlanTree): Promise<unknown> {
  let last: { readonly name: string; readonly tensor: Tensor<"float32"> } | undefined;
  const visit = async (node: PlanTree): Promise<unknown> => {
    if (isPlan(node)) {
      if (last?.name !== node.name) last = { name: node.name, tensor: await source.read(node.name) };
      return node.take === undefined ? last.tensor : node.take(last.tensor);
    }
    const entries: [string, unknown][] = [];
    for (const [name, child] of Object.entries(node)) entries.push([name, await visit(child)]);
    return Array.isArray(node) ? entries.map(([, child]) => child) : Object.fromEntries(entries);
  };
  return visit(tree);
}
