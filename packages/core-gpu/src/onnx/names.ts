import { checkArguments } from "../arguments.ts";
/**
 * Sentence that suggests names close to an unknown one, or says how many there are; for error messages.
 *
 * @param known All names that would have been right.
 */
export function suggestion(name: string, known: Iterable<string>): string {
  checkArguments("core-gpu.onnx.suggestion", { name: [name, "a string"], known: [known, "an iterable"] });
  const candidates = [...known].filter((candidate) => candidate !== "");
  const limit = Math.max(2, Math.floor(name.length / 3));
  // Comparing takes the product of the lengths.
  const near = (name.length > 200 ? [] : candidates)
    .map((candidate) => ({ candidate, distance: distance(name, candidate, limit) }))
    .filter((entry) => entry.distance <= limit)
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 3);
  if (near.length > 0) return `Did you mean ${near.map(({ candidate }) => quoted(candidate)).join(", ")}?`;
  if (candidates.length > 8) return `There are ${candidates.length} others, e.g. ${list(candidates.slice(0, 3))}.`;
  return candidates.length === 0 ? "There are none." : `There are: ${list(candidates)}.`;
}

/** Names in quotes, joined by commas. */
export function list(names: Iterable<string>): string {
  return [...names].map(quoted).join(", ");
}

/** A name in quotes, shortened where it is very long. */
export function quoted(name: string): string {
  checkArguments("core-gpu.onnx.quoted", { name: [name, "a string"] });
  return JSON.stringify(name.length > 200 ? `${name.slice(0, 200)}...` : name);
}

/** A name that is not taken: `name`, else `name_2`, `name_3`, ... It is added to `taken`. */
export function uniqueName(name: string, taken: Set<string>): string {
  checkArguments("core-gpu.onnx.uniqueName", { name: [name, "a string"], taken: [taken, "a set"] });
  let free = name;
  for (let count = 2; taken.has(free); count++) free = `${name}_${count}`;
  taken.add(free);
  return free;
}

/** Levenshtein distance, or anything above `limit` once it is known to exceed it. */
function distance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const changed = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(changed, previous[j]! + 1, current[j - 1]! + 1));
    }
    if (Math.min(...current) > limit) return limit + 1;
    previous = current;
  }
  return previous[b.length]!;
}
