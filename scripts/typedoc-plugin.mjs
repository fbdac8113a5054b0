// What typedoc does not do by itself: exports stand under the room (folder) that they come from, not in flat lists by their kind, and the
// notes "Source:" and "Differs:" of a docstring are parts of their own, not of the block before them, such as @throws.
import { basename, dirname } from "node:path";
import { Comment, CommentTag, Converter, ReflectionKind } from "typedoc";

/** Where notes begin: at the start of a line. */
const first = /^(?=(?:Source|Differs): )/m;
/** Within notes, one after the other may stand in a line. */
const next = /(?:^|(?<=\.\s))(?=(?:Source|Differs): )/m;

/** Comments that stand for a whole reflection, its signatures' included. */
function commentsOf(reflection) {
  return [reflection, ...(reflection.signatures ?? [])].flatMap(({ comment }) => (comment ? [comment] : []));
}

/** Cuts the summary and every block before its notes, and appends these as blocks `@source` and `@differs`. */
export function splitNotes(comment) {
  const notes = [];
  const cut = (content) => {
    const index = content.findIndex(({ kind, text }) => kind === "text" && first.test(text));
    if (index < 0) return content;
    const part = content[index];
    const at = part.text.search(first);
    notes.push(...byNote([{ ...part, text: part.text.slice(at) }, ...content.slice(index + 1)]));
    return [...content.slice(0, index), { ...part, text: part.text.slice(0, at).trimEnd() }];
  };
  comment.summary = cut(comment.summary);
  for (const tag of comment.blockTags) tag.content = cut(tag.content);
  for (const [name, content] of notes) comment.blockTags.push(new CommentTag(name, content));
}

/** `["@source", …]` and `["@differs", …]` of content that begins with a note. */
function byNote(content) {
  const blocks = [];
  for (const part of content) {
    for (const piece of part.kind === "text" ? part.text.split(next) : [part.text]) {
      const [start, word] = (part.kind === "text" && /^(Source|Differs): /.exec(piece)) || ["", ""];
      if (word !== "") blocks.push([`@${word.toLowerCase()}`, []]);
      blocks.at(-1)[1].push({ ...part, text: piece.slice(start.length) });
    }
  }
  return blocks;
}

/** The room that a file stands in; "General" for files beside index.ts. */
export function roomOf(file) {
  const room = basename(dirname(file));
  return room === "src" ? "General" : `${room[0].toUpperCase()}${room.slice(1).replaceAll("-", " ")}`;
}

export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const reflection of Object.values(project.reflections)) {
      for (const comment of commentsOf(reflection)) splitNotes(comment);
      if (reflection.parent?.kindOf([ReflectionKind.SomeModule, ReflectionKind.Project]) !== true) continue;
      const file = project.getSymbolIdFromReflection(reflection)?.fileName;
      if (file === undefined) continue;
      if (commentsOf(reflection).length === 0) reflection.comment = new Comment();
      commentsOf(reflection)[0].blockTags.push(new CommentTag("@category", [{ kind: "text", text: roomOf(file) }]));
    }
  });
}
