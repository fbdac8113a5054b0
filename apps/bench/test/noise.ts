/** The formula of fixtures/train.py and clustering.py: uniform numbers in [−1, 1) from a sine. */
export function noise(size: number, salt: number): Float32Array {
  return Float32Array.from({ length: size }, (_, at) => {
    const value = Math.sin(at * 12.9898 + salt * 78.233) * 43758.5453;
    return 2 * (value - Math.floor(value)) - 1;
  });
}
