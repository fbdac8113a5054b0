import { backboneName } from "./series.ts";

/** A file that a result was computed from. */
export interface FileRow {
  readonly what: string;
  readonly name: string;
  readonly sha256: string;
}

/** Rows of data files, for a report's list of files. */
export function dataFiles(files: readonly { readonly name: string; readonly sha256: string }[] = []): FileRow[] {
  return files.map(({ name, sha256 }) => ({ what: "data", name, sha256 }));
}

/** Rows of pretrained weights. */
export function weightFiles(
  weights: readonly { readonly backbone: string; readonly file: string; readonly sha256: string }[],
): FileRow[] {
  return weights.map(({ backbone, file, sha256 }) => ({
    what: `weights of ${backboneName(backbone)}`,
    name: file,
    sha256,
  }));
}
