import type { DescMessage } from "@bufbuild/protobuf";
import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";

/**
 * Counts the messages of an encoded protobuf, itself included, without decoding it: two bytes on the wire can be a message
 * of hundreds in memory. Stops above `limit`. What is not well-formed is left to the decoder to refuse.
 *
 * @param depth How deep messages may lie within each other; deeper ones are not followed.
 */
export function countMessages(schema: DescMessage, bytes: Uint8Array, limit: number, depth: number): number {
  const fields = new Map<DescMessage, ReadonlyMap<number, DescMessage>>();
  const childrenOf = (message: DescMessage): ReadonlyMap<number, DescMessage> => {
    const known = fields.get(message);
    if (known !== undefined) return known;
    const made = new Map(
      message.fields.flatMap((field) => (field.message === undefined ? [] : [[field.number, field.message] as const])),
    );
    fields.set(message, made);
    return made;
  };
  let count = 1;
  const pending: {
    readonly message: DescMessage;
    readonly at: number;
    readonly end: number;
    readonly level: number;
  }[] = [{ message: schema, at: 0, end: bytes.byteLength, level: 0 }];
  try {
    for (let next = pending.pop(); next !== undefined && count <= limit; next = pending.pop()) {
      const { message, at, end, level } = next;
      const children = childrenOf(message);
      const reader = new BinaryReader(bytes.subarray(at, end));
      while (reader.pos < reader.len && count <= limit) {
        const [number, type] = reader.tag();
        const child = type === WireType.LengthDelimited ? children.get(number) : undefined;
        if (child === undefined) {
          reader.skip(type, number);
          continue;
        }
        const length = reader.uint32();
        const start = at + reader.pos;
        count++;
        if (length > 0 && level < depth && start + length <= end)
          pending.push({ message: child, at: start, end: start + length, level: level + 1 });
        reader.pos += length;
      }
    }
  } catch {
    return count;
  }
  return count;
}
