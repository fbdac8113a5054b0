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
  return stream.isTTY === true ? bars(stream, now) : lines(stream, now);
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
        stream.write(`${title}: ${count(value)}/${count(total)} ${unit}, ${pace(value, total, at - begun)}\n`);
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

/** Milliseconds between two drawings of a bar. */
const DRAW_EVERY = 100;
const BAR = 24;
const CLEAR = "\r\u001b[2K";

/**
 * One line that is written over: no cursor is hidden, no wrapping switched off and no signal caught, so that whatever ends the process
 * leaves the terminal as it was.
 */
function bars(stream: Output, now: () => number): Progress {
  /** Ends the bar that is being written over, so that its last state stays. */
  let end = () => {};
  return {
    note(line) {
      end();
      stream.write(`${line}\n`);
    },
    stage(title, total, unit) {
      end();
      const begun = now();
      let [value, last, open] = [0, Number.NEGATIVE_INFINITY, true];
      const draw = () => {
        const done = Math.round(BAR * Math.min(1, value / Math.max(1, total)));
        const bar = `${"█".repeat(done)}${"░".repeat(BAR - done)}`;
        const line = `${title} ${bar} ${count(value)}/${count(total)} ${unit}, ${pace(value, total, now() - begun)}`;
        stream.write(`${CLEAR}${line.slice(0, (stream.columns ?? 80) - 1)}`);
        last = now();
      };
      const close = () => {
        if (!open) return;
        draw();
        stream.write("\n");
        open = false;
        end = () => {};
      };
      end = close;
      draw();
      return {
        advance(by) {
          value += by;
          if (open && now() - last >= DRAW_EVERY) draw();
        },
        done: close,
      };
    },
  };
}

/** "120/s, 3 min left" after some milliseconds. */
function pace(value: number, total: number, milliseconds: number): string {
  const rate = milliseconds > 0 ? (1000 * value) / milliseconds : 0;
  const left = rate > 0 && value < total ? `, ${duration((total - value) / rate)} left` : "";
  return `${count(rate)}/s${left}`;
}

function count(value: number): string {
  return value >= 10 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toPrecision(2);
}

function duration(seconds: number): string {
  if (seconds < 60) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
