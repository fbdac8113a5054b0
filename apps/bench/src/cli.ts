#!/usr/bin/env node
import { readFileSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { onnx } from "@exitkit/core-gpu";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { data, FETCHABLE } from "./commands/data.ts";
import { checkUp } from "./commands/doctor.ts";
import { list } from "./commands/list.ts";
import { measured } from "./commands/measured.ts";
import { report } from "./commands/report.ts";
import { extraOptions, type RunOptions, run } from "./commands/run.ts";
import type { Experiment } from "./experiments/experiment.ts";
import { EXPERIMENTS } from "./experiments/index.ts";
import { wholeNumber } from "./experiments/options.ts";
import { openTerminal } from "./terminal/log.ts";
import type { Output } from "./terminal/output.ts";
import type { Terminal } from "./terminal/terminal.ts";

/**
 * Runs one command line.
 *
 * @param args What follows `bench`.
 * @returns The exit code: 0, 1 after an error, 2 after a wrong command line.
 */
export async function runCli(
  args: readonly string[],
  stdout: Output,
  stderr: Output,
  experiments: readonly Experiment[] = EXPERIMENTS,
): Promise<number> {
  let code = 0;
  const terminal = (json: boolean | undefined): Terminal => openTerminal(stdout, stderr, json === true);
  const json = new Option("--json", "print one JSON line and nothing else");
  const dataOption = new Option("--data <folder>", "folder with data sets (default: EXITKIT_DATA)");

  const program = new Command("bench")
    .description("Experiments with early exits: measured on this machine, resumable, reported.")
    .version(
      (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version,
    )
    .exitOverride()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .showHelpAfterError("(see bench --help)");

  program
    .command("list")
    .description("list the experiments")
    .addOption(json)
    .action((options: { json?: boolean }) => list(experiments, terminal(options.json)));

  const running = program
    .command("run")
    .description("run an experiment; one that was interrupted goes on where it stopped")
    .argument("<experiment>", "its name in bench list", (name: string) => {
      const found = experiments.find((one) => one.name === name);
      if (found !== undefined) return found;
      throw new InvalidArgumentError(
        onnx.suggestion(
          name,
          experiments.map((one) => one.name),
        ),
      );
    })
    .addOption(
      new Option("--preset <preset>", "quick: minutes; full: what is quoted")
        .choices(["quick", "full"])
        .default("quick"),
    )
    .addOption(dataOption)
    .addOption(
      new Option("--device <device>", "where to run").choices(["auto", "cpu", "webgpu", "cuda"]).default("auto"),
    )
    .addOption(new Option("--seed <number>", "seed of everything random").argParser(wholeNumber).default(1));
  for (const { flags, about, parse } of extraOptions(experiments)) {
    running.addOption(new Option(flags, about).argParser((text) => parse(text)));
  }
  running
    .option("--out <folder>", "folder of the run (default: runs/<experiment>-<preset>-seed<seed>)")
    .option("--fresh", "throw an earlier run in that folder away")
    .addOption(json)
    .action(async (experiment: Experiment, options: RunOptions & { json?: boolean }) => {
      await run(experiment, options, experiments, terminal(options.json));
    });

  program
    .command("report")
    .description("write the results of runs as one HTML page")
    .argument("[folders...]", "run folders, the headline first (default: the best run of each experiment in ./runs)")
    .option("--out <file>", "the page (default: report.html)")
    .addOption(json)
    .action((folders: string[], options: { out?: string; json?: boolean }) =>
      report(folders, options, experiments, terminal(options.json)),
    );

  program
    .command("measured")
    .description("write docs/measured.md and the README's numbers from docs/results")
    .argument("[runs...]", "finished full runs, or files of a peer, whose results docs/results takes over first")
    .option("--check", "write nothing; fail where they do not say what docs/results says")
    .action(async (runs: string[], options: { check?: boolean }) => {
      if (!(await measured(runs, options, experiments, terminal(false)))) code = 1;
    });

  program
    .command("doctor")
    .description("look at what works on this machine")
    .addOption(dataOption)
    .addOption(json)
    .action(async (options: { data?: string; json?: boolean }) => {
      if (!(await checkUp(options, terminal(options.json)))) code = 1;
    });

  const sets = program.command("data").description("fetch data sets and models");
  for (const fetchable of FETCHABLE) {
    const { about, archive } = fetchable.origin;
    sets
      .command(fetchable.name)
      .description(`fetch ${about}`)
      .option("--data <folder>", "data folder (default: EXITKIT_DATA, else ./data)")
      .option("--archive <file>", `${archive}, downloaded earlier`)
      .addOption(json)
      .action((options: { data?: string; archive?: string; json?: boolean }) =>
        data(fetchable, options, terminal(options.json)),
      );
  }

  try {
    await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    terminal(true).error(error);
    return 1;
  }
}

const started = process.argv[1];
if (started !== undefined && realpathSync(started) === fileURLToPath(import.meta.url)) {
  process.on("SIGINT", () => {
    process.stderr.write("\nstopped; the same command goes on where this one was\n");
    process.exit(130);
  });
  // Whoever reads may go away, e.g. head.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      process.exit(0);
    });
  }
  process.exitCode = await runCli(process.argv.slice(2), process.stdout, process.stderr);
}
