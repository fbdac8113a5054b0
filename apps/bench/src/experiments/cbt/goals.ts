import { decimal, percent } from "../../report/numbers.ts";
import type { CbtResult, CbtRow } from "./schema.ts";

/** What is wanted of a network's rows beside what they say. */
export function goalsOf(rows: readonly CbtRow[]): CbtResult["goals"] {
  const plain = rows.find(({ method }) => method === "plain")!;
  const timed = rows.filter(({ method, wallFraction }) => method !== "plain" && wallFraction !== null);
  const solved = timed.filter(({ method }) => method === "solved");
  const near = solved
    .filter(({ miou }) => miou >= plain.miou - 0.005)
    .toSorted((a, b) => a.wallFraction! - b.wallFraction!)[0];
  const { network } = plain;
  const goals: CbtResult["goals"][number][] = [
    {
      network,
      goal: "solved thresholds take at most 0.60 of the time at a loss of half a point of mean IoU",
      measured: near === undefined ? "none lost so little" : `${decimal(near.wallFraction!, 3)} of the time`,
      met: near !== undefined && near.wallFraction! <= 0.6,
    },
  ];
  for (const [method, words, wanted] of [
    ["one threshold", "one threshold", 0.15],
    ["cbt", "thresholds of classes from a range", 0.05],
  ] as const) {
    const compared = (near === undefined ? solved : [near]).map((row) => {
      const peer = timeAt(
        timed.filter((other) => other.method === method),
        row.miou,
      );
      return peer === null ? null : 1 - row.wallFraction! / peer;
    });
    const less = compared.find((value) => value !== null) ?? null;
    goals.push({
      network,
      goal: `solved thresholds take ${percent(wanted)} less time than ${words} at equal mean IoU`,
      measured:
        less === null
          ? "at no mean IoU that both reach"
          : `${percent(Math.abs(less), 1)} ${less >= 0 ? "less" : "more"}`,
      met: less !== null && less >= wanted,
    });
  }
  const over = Math.max(...timed.map(({ wallFraction, macsFraction }) => wallFraction! - macsFraction));
  goals.push({
    network,
    goal: "time is at most 0.10 of the plain network's above MACs, at every setting",
    measured: timed.length === 0 ? "nothing was timed" : `${decimal(over, 3)} above at most`,
    met: timed.length > 0 && over <= 0.1,
  });
  return goals;
}

/** The least time of a method at a mean IoU or above, linear between neighbours in mean IoU; null where it is not reached. */
function timeAt(rows: readonly CbtRow[], miou: number): number | null {
  const reaching = rows.filter((row) => row.miou >= miou).map((row) => row.wallFraction!);
  const between = rows.flatMap((low) =>
    rows
      .filter((high) => low.miou < miou && high.miou >= miou)
      .map((high) => {
        const share = (miou - low.miou) / (high.miou - low.miou);
        return low.wallFraction! + share * (high.wallFraction! - low.wallFraction!);
      }),
  );
  const all = [...reaching, ...between];
  return all.length === 0 ? null : Math.min(...all);
}
