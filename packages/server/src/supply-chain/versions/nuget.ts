import { type Compare, compareDigits, compareLists, compareText } from './order.ts';

const VERSION = /^([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(?:\.([0-9]+))?(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]*)?$/;

/** Labels of a version before a release: numbers before words, both as semver has it, but without regard to case. */
function compareLabels(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
  const [isNumber, isOther] = [/^[0-9]+$/.test(a), /^[0-9]+$/.test(b)];
  if (isNumber && isOther) return compareDigits(a, b);
  if (isNumber !== isOther) return isNumber ? -1 : 1;
  return compareText(a.toUpperCase(), b.toUpperCase());
}

/** Order of versions of NuGet packages: up to four numbers, then labels; what is built from what does not count. */
export const compareNuget: Compare = (a, b) => {
  const [one, two] = [VERSION.exec(a.trim()), VERSION.exec(b.trim())];
  if (!one || !two) return undefined;
  const numbers = compareLists(one.slice(1, 5), two.slice(1, 5), (left, right) => compareDigits(left ?? '', right ?? ''));
  if (numbers !== 0) return numbers;
  const [labels, others] = [one[5], two[5]];
  if (labels === undefined || others === undefined) return labels === others ? 0 : labels === undefined ? 1 : -1;
  return compareLists(labels.split('.'), others.split('.'), compareLabels);
};
