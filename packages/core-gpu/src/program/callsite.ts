const packageFolder = new URL("..", import.meta.url).href;

/**
 * `file:line:column` of the innermost caller outside this package, from the current stack: the user's line that applied
 * an operator, itself or through a layer or an optimiser. Null where the stack does not tell.
 */
export function callSite(): string | null {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 30;
  const lines = new Error().stack?.split("\n").slice(1) ?? [];
  Error.stackTraceLimit = limit;
  for (const line of lines) {
    const place = /\(?((?:file:\/\/|\/|[A-Za-z]:\\)[^()]*:\d+:\d+)\)?$/.exec(line)?.[1];
    if (place === undefined) continue;
    const url = place.startsWith("file://") ? place : `file://${place}`;
    if (!url.startsWith(packageFolder)) return place.replace(/^file:\/\//, "");
  }
  return null;
}
