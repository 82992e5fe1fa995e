import { type Compare, compareDigits, compareText } from './order.ts';

const SEPARATORS = /^[^A-Za-z0-9]*/;

/** As rpm of old, but for separators, which count, and for what is left over: letters are older than nothing. */
function compareSegments(a: string, b: string): number {
  let [one, two] = [a, b];
  while (one !== '' && two !== '') {
    const gaps = [SEPARATORS.exec(one)?.[0].length ?? 0, SEPARATORS.exec(two)?.[0].length ?? 0] as const;
    [one, two] = [one.slice(gaps[0]), two.slice(gaps[1])];
    if (one === '' || two === '') break;
    if (gaps[0] !== gaps[1]) return gaps[0] - gaps[1];
    const isNumber = /^[0-9]/.test(one);
    const pattern = isNumber ? /^[0-9]+/ : /^[A-Za-z]+/;
    const left = pattern.exec(one)?.[0] ?? '';
    const right = pattern.exec(two)?.[0];
    if (right === undefined) return isNumber ? 1 : -1;
    const order = isNumber ? compareDigits(left, right) : compareText(left, right);
    if (order !== 0) return order;
    [one, two] = [one.slice(left.length), two.slice(right.length)];
  }
  if (one === two) return 0;
  const isLetter = (text: string) => /^[A-Za-z]/.test(text);
  return (one === '' && !isLetter(two)) || isLetter(one) ? -1 : 1;
}

const EVR = /^(?:([0-9]*):)?(.+?)(?:-([^-]*))?$/;

/** Order of `[epoch:]version[-release]` of pacman's packages (vercmp(8)); a release that one of them lacks does not count. */
export const comparePacman: Compare = (a, b) => {
  const [one, two] = [EVR.exec(a.trim()), EVR.exec(b.trim())];
  if (!one || !two) return undefined;
  const [, epoch = '', version = '', release] = one;
  const [, otherEpoch = '', otherVersion = '', otherRelease] = two;
  const order = compareDigits(epoch, otherEpoch) || compareSegments(version, otherVersion);
  if (order !== 0 || release === undefined || otherRelease === undefined) return order;
  return compareSegments(release, otherRelease);
};
