// Callers in plain JavaScript see no types: whatever any public function is called with, it refuses with an InputError that names it, or answers.
import { readdirSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as core from "../packages/core-gpu/src/index.ts";
import { fixtures } from "./fixtures.ts";

type Any = (...given: unknown[]) => unknown;

/** Functions of a package by name, those of its namespaces (`core-gpu.ops.add`) too; no classes, no constants. */
function functionsOf(name: string, exported: object): [string, Any][] {
  return Object.entries(exported).flatMap(([key, value]): [string, Any][] => {
    if (typeof value === "function") return isClass(value) ? [] : [[`${name}.${key}`, value as Any]];
    return value?.[Symbol.toStringTag] === "Module" ? functionsOf(`${name}.${key}`, value) : [];
  });
}

function isClass(value: object): boolean {
  return Function.prototype.toString.call(value).startsWith("class");
}

/** Stands for what another library does. */
const FOREIGN = new Set(["core-gpu.onnx.create"]);

/** Whose only arguments may be left out, or go through to who checks them. */
const TAKES_NOTHING =
  /^core-gpu\.(asTensor|channelBlocks|diagnoseDevices|openDevice|layers\.(kaiming|xavier|truncated)?(Normal|Uniform|normal|uniform)|optimisers\.(adam|adamW|sgd))$|^early-exit\.heads\.(linear|mixedPool)$|^prune-ee\.criteria\./;

/** What came of a call: an answer (of a generator: its first), or what was thrown. */
async function outcome(fn: Any, given: readonly unknown[]): Promise<{ readonly thrown?: unknown }> {
  try {
    const answer = await fn(...given);
    const { next, return: end } = (answer ?? {}) as Partial<AsyncGenerator>;
    if (next !== undefined && end !== undefined) {
      await next.call(answer);
      await end.call(answer, undefined);
    }
    (answer as { release?: () => void } | null)?.release?.();
    return {};
  } catch (thrown) {
    return { thrown };
  }
}

/** What was thrown that is no InputError of a named caller, and what was answered though nothing was given. */
async function faults(functions: readonly [string, Any][], calls: readonly Call[]): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [full, fn] of functions) {
    for (const [label, given] of calls) {
      const { thrown } = await outcome(fn, given);
      if (thrown === undefined) {
        if (given.length === 0 && !TAKES_NOTHING.test(full)) found.push(`${full}(${label}) answers`);
        continue;
      }
      if (thrown instanceof core.InputError && /^\w[\w-]*(\.\w+)*$/.test(thrown.caller)) continue;
      found.push(`${full}(${label}): ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    }
  }
  return found;
}

type Call = readonly [label: string, given: readonly unknown[]];

/** Nothing, null, a number, a promise; and things that are some function's first argument, alone and before nothing that fits. */
function calls(device: core.Device): readonly Call[] {
  return [
    ["nothing", []],
    ["null", [null]],
    ["a number", [5]],
    ["a promise", [Promise.resolve(1)]],
    ...fixtures(device).flatMap(([label, value]): Call[] => [
      [label, [value]],
      [`${label}, null`, [value, null]],
      [`${label}, {}`, [value, {}]],
    ]),
  ];
}

let device: core.Device;
beforeAll(async () => {
  device = await core.openDevice("cpu");
});
afterAll(() => device.close());

describe("every public function", () => {
  it.each(readdirSync("packages"))("of %s", async (name) => {
    const exported = (await import(`../packages/${name}/src/index.ts`)) as object;
    const functions = functionsOf(name, exported).filter(([full]) => !FOREIGN.has(full));
    expect(functions.length).toBeGreaterThan(10);
    expect(await faults(functions, calls(device))).toEqual([]);
  });

  it("would be found out", async () => {
    const careless: [string, Any][] = [
      ["a.length", (list) => (list as string).length],
      ["a.silent", () => 1],
    ];
    expect(await faults(careless, [["nothing", []]])).toEqual([
      "a.length(nothing): Cannot read properties of undefined (reading 'length')",
      "a.silent(nothing) answers",
    ]);
  });
});
