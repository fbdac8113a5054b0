import { SingleBar } from "cli-progress";
import type { Output } from "./output.ts";

/** How a long piece of work says how far it is. */
export interface Progress {
  /** Begins a stage of `total` units, e.g. `stage("features", 5000, "pictures")`. */
  stage(title: string, total: number, unit: string): Stage;
  /** One line that stays readable. */
  note(line: string): void;
}

/** A stage of known length. */
interface Stage {
  advance(by: number): void;
  /** Ends the stage, whether or not all units were done. */
  done(): void;
}

/** Progress that prints nothing. */
export const SILENT: Progress = { stage: () => ({ advance: () => {}, done: () => {} }), note: () => {} };

/** Milliseconds between two plain lines of one stage. */
const LINE_EVERY = 5000;

/**
 * Progress on a stream: a bar with rate and time left on a terminal, a plain line every five seconds elsewhere (and one
 * at the end of every stage), nothing for `null`.
 *
 * @param now Clock in milliseconds; for tests.
 */
export function createProgress(stream: Output | null, now: () => number = () => performance.now()): Progress {
  if (stream === null) return SILENT;
  return stream.isTTY === true ? bars(stream) : lines(stream, now);
}

function lines(stream: Output, now: () => number): Progress {
  return {
    note: (line) => void stream.write(`${line}\n`),
    stage(title, total, unit) {
      const begun = now();
      let last = begun;
      let value = 0;
      let open = true;
      const print = (at: number) => {
        const seconds = (at - begun) / 1000;
        const rate = seconds > 0 ? value / seconds : 0;
        const left = rate > 0 && value < total ? `, ${duration((total - value) / rate)} left` : "";
        stream.write(`${title}: ${count(value)}/${count(total)} ${unit}, ${count(rate)}/s${left}\n`);
        last = at;
      };
      return {
        advance(by) {
          value += by;
          if (open && now() - last >= LINE_EVERY) print(now());
        },
        done() {
          if (open) print(now());
          open = false;
        },
      };
    },
  };
}

function bars(stream: Output): Progress {
  let current: SingleBar | null = null;
  const stop = () => {
    current?.stop();
    current = null;
  };
  return {
    note(line) {
      stop();
      stream.write(`${line}\n`);
    },
    stage(title, total, unit) {
      stop();
      const begun = performance.now();
      const bar = new SingleBar({
        stream: stream as NodeJS.WritableStream,
        format: "{title} {bar} {value}/{total} {unit}, {rate}/s, {eta_formatted} left",
        barsize: 24,
        hideCursor: true,
        etaBuffer: 20,
        barCompleteChar: "█",
        barIncompleteChar: "░",
        gracefulExit: true,
      });
      const payload = (value: number) => ({
        title,
        unit,
        rate: count(value / Math.max(1e-3, (performance.now() - begun) / 1000)),
      });
      let value = 0;
      bar.start(Math.max(1, total), 0, payload(0));
      current = bar;
      return {
        advance(by) {
          value += by;
          if (current === bar) bar.update(value, payload(value));
        },
        done() {
          if (current === bar) stop();
        },
      };
    },
  };
}

function count(value: number): string {
  return value >= 10 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toPrecision(2);
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
