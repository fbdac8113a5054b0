const VOID = new Set(["br", "hr", "img", "link", "meta", "input"]);

/**
 * Every element of the page in order of its start tag; throws where the markup is not well-formed: a tag not closed or closed
 * out of order, an attribute without quotes, a bare < or &, an id used twice.
 */
export function elementsOf(
  page: string,
): { readonly name: string; readonly attributes: ReadonlyMap<string, string> }[] {
  const elements: { name: string; attributes: Map<string, string> }[] = [];
  const open: string[] = [];
  const ids = new Set<string>();
  const markup = page.replace(/^<!doctype html>\s*/, "").replace(/(<style>)[^<]*(<\/style>)/g, "$1$2");
  let at = 0;
  for (const match of markup.matchAll(/<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+="[^"<]*")*)\s*(\/?)>/g)) {
    checkText(markup.slice(at, match.index));
    at = match.index + match[0].length;
    const [, closing, name, attributeText, selfClosing] = match as unknown as [string, string, string, string, string];
    if (closing !== "") {
      const expected = open.pop();
      if (expected !== name) throw new Error(`</${name}> closes <${expected}>`);
      continue;
    }
    const attributes = new Map<string, string>();
    for (const [, key, value] of attributeText.matchAll(/([\w:-]+)="([^"]*)"/g)) {
      if (attributes.has(key!)) throw new Error(`<${name}> has two ${key}`);
      checkText(value!);
      attributes.set(key!, value!);
    }
    const id = attributes.get("id");
    if (id !== undefined && ids.has(id)) throw new Error(`two elements with the id ${id}`);
    if (id !== undefined) ids.add(id);
    elements.push({ name, attributes });
    if (selfClosing === "" && !VOID.has(name)) open.push(name);
  }
  checkText(markup.slice(at));
  if (open.length > 0) throw new Error(`not closed: ${open.join(" ")}`);
  return elements;
}

function checkText(text: string): void {
  const bad = /<|&(?!(?:amp|lt|gt|quot|nbsp|#\d+|#x[\da-f]+);)/i.exec(text);
  if (bad) throw new Error(`bare ${bad[0]} in: ${text.slice(Math.max(0, bad.index - 40), bad.index + 40)}`);
}
