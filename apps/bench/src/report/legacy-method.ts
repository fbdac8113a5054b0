import { dataFiles } from "./files.ts";
import type { RivalsResult } from "./rivals-types.ts";

export function usedData(result: RivalsResult): { readonly data?: readonly string[] } {
  return { data: result.datasets.map(({ name }) => name) };
}

export function filesOf(result: RivalsResult) {
  return dataFiles(result.datasets.flatMap((data) => data.files));
}
