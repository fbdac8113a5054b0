import type { Experiment } from "../experiments/experiment.ts";
import { benchCommand } from "../report/command.ts";
import { tableOf } from "../report/table.ts";
import type { Terminal } from "../terminal/terminal.ts";

/** `bench list`: the experiments. */
export function list(experiments: readonly Experiment[], terminal: Terminal): void {
  terminal.table(
    tableOf(experiments, [
      ["experiment", "name"],
      ["what it measures", "title"],
    ]),
  );
  terminal.line(`Run one: ${benchCommand("run <experiment>")}`);
  terminal.result(experiments.map(({ name, title, about }) => ({ name, title, about })));
}
