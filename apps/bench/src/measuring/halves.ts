import { type ExitRecord, selectRows } from "@exitkit/early-exit";
import type { Dataset } from "../data/directory.ts";
import { type Pictures, slicePictures } from "../data/pictures.ts";

/** The two halves of the test pictures; thresholds from one are reported on the other, both ways. */
export function folds({ test }: Dataset): readonly [Pictures, Pictures] {
  const half = Math.floor(test.n / 2);
  return [slicePictures(test, 0, half), slicePictures(test, half, 2 * half)];
}

/** The rows of the two halves among n. */
export function halfRows(n: number): readonly [Int32Array, Int32Array] {
  const half = Math.floor(n / 2);
  const range = (from: number) => Int32Array.from({ length: half }, (_, index) => from + index);
  return [range(0), range(half)];
}

/** The same halves of a record of all test pictures. */
export function foldRecords(record: ExitRecord): readonly [ExitRecord, ExitRecord] {
  const [first, second] = halfRows(record.n);
  return [selectRows(record, first), selectRows(record, second)];
}
