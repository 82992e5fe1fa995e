/**
 * Order of two versions of one scheme: negative where the first is older, 0 where they are equal, positive where it is newer.
 * Undefined where one of them is no version of that scheme: nobody may conclude anything from it then.
 */
export type Compare = (a: string, b: string) => number | undefined;

/** Order of two runs of decimal digits of any length; of nothing as of 0. */
export function compareDigits(a: string, b: string): number {
  const [one, two] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return one.length - two.length || compareText(one, two);
}

/** Order by code units: for ASCII the order of bytes. */
export function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** Order of lists: by the first pair that differs, with what is missing in the shorter one given as undefined. */
export function compareLists<T>(a: readonly T[], b: readonly T[], compare: (one: T | undefined, two: T | undefined) => number): number {
  for (let i = 0; i < a.length || i < b.length; i++) {
    const order = compare(a[i], b[i]);
    if (order !== 0) return order;
  }
  return 0;
}
