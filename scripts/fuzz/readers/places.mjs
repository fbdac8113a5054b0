import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Path of a file of the repository. */
export const at = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** Bytes of a file of the repository. */
export const bytesOf = (path) => readFileSync(at(path));

/** A module of the repository, from its source. */
export const from = (path) => import(/* @vite-ignore */ at(path));

/** A reader of paths as one of bytes: they are written to a file of that name first. */
export const throughFile = (folder, name, read) => {
  const path = join(folder, name);
  return (bytes) => {
    writeFileSync(path, bytes);
    return read(path);
  };
};
