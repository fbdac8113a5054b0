import type { Model } from "../onnx/model.ts";
import { AttributeProto_AttributeType as AttributeType } from "../onnx/onnx_pb.ts";

/** Optimisations of ONNX Runtime that look for certain operators, and how a graph of none of them is known. */
const passes: readonly { readonly names: readonly string[]; readonly need: RegExp }[] = [
  {
    need: /Quantize|QLinear|Integer|NBits/,
    names: [
      "DoubleQDQPairsRemover",
      "QDQPropagationTransformer",
      "WhereDummyDq",
      "WeightBiasQuantization",
      "EnsureUniqueDQForNodeUnit",
      "QDQSelectorActionTransformer",
      "DynamicQuantizeMatMulFusion",
      "MatMulIntegerToFloatFusion",
      "MatMulNBitsFusion",
      "QDQS8ToU8Transformer",
      "QDQFinalCleanupTransformer",
    ],
  },
  {
    need: /^(Erf|Tanh|Sigmoid)$|Gelu/,
    names: ["BiasGeluFusion", "FastGeluFusion", "QuickGeluFusion", "GeluFusionL1", "GeluFusionL2"],
  },
  {
    // A normalisation may also stand there in parts, of which Pow is one.
    need: /^Pow$|Normalization$/,
    names: ["SkipLayerNormFusion", "BiasSkipLayerNormFusion", "EmbedLayerNormFusion", "AttentionFusion"],
  },
  {
    need: /Attention$|^RotaryEmbedding$/,
    names: ["GroupQueryAttentionFusion", "GroupQueryAttentionPreNormFusion"],
  },
  { need: /^Gather$/, names: ["GatherToSliceFusion", "GatherSliceToSplitFusion"] },
  { need: /^Dropout$/, names: ["BiasDropoutFusion"] },
];

/**
 * The optimisations that would find nothing in a model, as the runtime's option wants them: each goes over all nodes, several
 * times, which is a third of the time that loading a training step of thousands of nodes takes (docs/performance.md).
 */
export function idlePasses({ proto }: Model): string {
  const nodes = proto.graph!.node;
  // What lies in the bodies of loops and branches is not looked through.
  const nested = nodes.some(({ attribute }) => attribute.some(({ type }) => type === AttributeType.GRAPH));
  if (nested) return "";
  const used = [...new Set(nodes.map(({ opType }) => opType))];
  return passes.flatMap(({ need, names }) => (used.some((type) => need.test(type)) ? [] : names)).join(";");
}
