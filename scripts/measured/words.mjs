// Words and numbers as the measured pages write them.
// @ts-check

export function machine({ environment, seed }) {
  const { cpu, cores, node, onnxruntime, git } = environment;
  return `${cores} ${cores === 1 ? "core" : "cores"} (${cpu}), Node ${node}, ONNX Runtime ${onnxruntime}, seed ${seed}, commit ${git?.sha?.slice(0, 12) ?? "unknown"}${git?.dirty ? " with changes" : ""}`;
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

export function name(backbone) {
  return backbone.replace(/^resnet(\d+)$/, "ResNet-$1");
}

export function percent(value) {
  return `${(100 * value).toFixed(2)} %`;
}

export function points(value) {
  return `${(100 * value).toFixed(1)} points`;
}

export function signed(value) {
  return `${value > 0 ? "+" : value < 0 ? "−" : "±"}${Math.abs(100 * value).toFixed(2)}`;
}

export function times(value) {
  return `${value.toFixed(3)} ×`;
}
