import type { AsyncBuffer, FileMetaData } from "hyparquet";

/**
 * Reads over the thrift structures of a Parquet file before the library does, which makes every list as long as it is said to be: an element
 * takes a byte at least, so a list longer than what is left is no list. Throws plain errors for the caller to wrap.
 *
 * Source: Thrift's compact protocol; Parquet's FileMetaData and PageHeader.
 */
export async function checkFooter(file: AsyncBuffer): Promise<void> {
  const length = 8;
  if (file.byteLength < length) throw new Error("a file of fewer than 8 bytes");
  const tail = new DataView(await file.slice(file.byteLength - length));
  const footer = tail.getUint32(0, true);
  if (footer > file.byteLength - length) throw new Error(`a footer of ${footer} bytes`);
  const end = file.byteLength - length;
  structure(new DataView(await file.slice(end - footer, end)), 0);
}

/** The same of the headers of all pages of some columns. */
export async function checkPages(
  file: AsyncBuffer,
  { row_groups: groups }: FileMetaData,
  wanted: readonly string[],
): Promise<void> {
  for (const { columns } of groups) {
    for (const { meta_data: chunk } of columns) {
      if (chunk === undefined || !wanted.includes(chunk.path_in_schema[0]!)) continue;
      const from = Number(chunk.dictionary_page_offset ?? chunk.data_page_offset);
      const to = from + Number(chunk.total_compressed_size);
      if (!(from >= 0 && from < to && to <= file.byteLength)) throw new Error("pages outside of the file");
      const view = new DataView(await file.slice(from, to));
      for (let at = 0; at < view.byteLength; ) {
        const { end, compressed } = structure(view, at);
        at = end + compressed;
      }
    }
  }
}

const STOP = 0;
const BYTE = 3;
const NUMBERS = [4, 5, 6];
const DOUBLE = 7;
const BINARY = 8;
const LIST = 9;
const STRUCTURE = 12;

/** Goes over one structure. @returns Where it ends, and its third field, a page header's compressed size. */
function structure(view: DataView, begin: number, depth = 0): { readonly end: number; readonly compressed: number } {
  if (depth > 64) throw new Error("structures in structures, more than 64 deep");
  let [at, field, compressed] = [begin, 0, 0];
  const varint = (): number => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = view.getUint8(at++);
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  const zigzag = (value: number) => (value % 2 === 0 ? value / 2 : -(value + 1) / 2);
  const fits = (size: number, what: string) => {
    const left = view.byteLength - at;
    if (size > left) throw new Error(`a ${what} of ${size} where ${left} bytes are left`);
    return size;
  };
  const element = (type: number): void => {
    if (type === BYTE) at++;
    else if (NUMBERS.includes(type)) varint();
    else if (type === DOUBLE) at += 8;
    else if (type === BINARY) {
      const size = fits(varint(), "text");
      at += size;
    } else if (type === STRUCTURE) at = structure(view, at, depth + 1).end;
    else if (type === LIST) {
      const head = view.getUint8(at++);
      const size = fits(head >> 4 === 15 ? varint() : head >> 4, "list");
      // Truth values take a byte in a list.
      for (let i = 0; i < size; i++) element(head % 16 <= 2 ? BYTE : head % 16);
    } else if (type > 2) throw new Error(`thrift's type ${type}`);
  };
  for (;;) {
    const head = view.getUint8(at++);
    const type = head % 16;
    if (type === STOP) return { end: at, compressed };
    field = head >> 4 === 0 ? zigzag(varint()) : field + (head >> 4);
    const before = at;
    element(type);
    if (field !== 3 || type !== 5) continue;
    at = before;
    compressed = zigzag(varint());
    if (compressed < 0) throw new Error(`a page of ${compressed} bytes`);
  }
}
