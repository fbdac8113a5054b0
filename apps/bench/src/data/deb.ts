import { createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import xzDecompress from "xz-decompress";

const HEADER = 60;

/** Bytes that a package may take unpacked: a few hundred thousand packed ones can become gigabytes. */
const MOST_UNPACKED = 512 * 2 ** 20;

/**
 * Writes the files' part of a Debian package, `data.tar.xz`, as a plain tar archive.
 *
 * A .deb is an `ar` archive: "!<arch>\n", then for every member a header of 60 bytes (name 16, time 12, owner 6, group 6, mode
 * 8, size 10, then 0x60 0x0a, all in text) and its bytes, filled up to an even number.
 *
 * @param to Path of the tar archive.
 * @param most Bytes it may have. Default 512 MiB.
 * @throws Error when it is not such an archive, has no `data.tar.xz`, the xz stream is damaged or truncated, or it is larger unpacked.
 * Source: deb(5) and ar(5).
 */
export async function unpackDeb(deb: string, to: string, most = MOST_UNPACKED): Promise<void> {
  const file = await open(deb);
  try {
    const { size: length } = await file.stat();
    const text = async (position: number, bytes: number) => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, position);
      return buffer.subarray(0, bytesRead).toString("latin1");
    };
    if ((await text(0, 8)) !== "!<arch>\n") throw new Error("no Debian package: it does not begin with !<arch>");
    const seen: string[] = [];
    for (let at = 8; at + HEADER <= length; ) {
      const header = await text(at, HEADER);
      const size = Number(header.slice(48, 58));
      const name = header.slice(0, 16).trim().replace(/\/$/, "");
      if (header.slice(58) !== "`\n" || !Number.isSafeInteger(size)) throw new Error(`a damaged header at byte ${at}`);
      const begin = at + HEADER;
      if (begin + size > length) throw new Error(`truncated in ${name}: ${length} of ${begin + size} bytes`);
      if (name === "data.tar.xz") {
        const packed = file.createReadStream({ start: begin, end: begin + size - 1, autoClose: false });
        const xz = new xzDecompress.XzReadableStream(Readable.toWeb(packed) as globalThis.ReadableStream<Uint8Array>);
        let unpacked = 0;
        const limit = new Transform({
          transform(chunk: Buffer, _, done) {
            unpacked += chunk.length;
            if (unpacked > most) done(new Error(`more than ${most} bytes when unpacked`));
            else done(null, chunk);
          },
        });
        await pipeline(Readable.fromWeb(xz as ReadableStream<Uint8Array>), limit, createWriteStream(to));
        return;
      }
      seen.push(name);
      at = begin + size + (size % 2);
    }
    throw new Error(`no data.tar.xz in it, only ${seen.join(", ")}`);
  } finally {
    await file.close();
  }
}
