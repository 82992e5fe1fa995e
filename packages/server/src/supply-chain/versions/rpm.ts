import { type Compare, compareDigits, compareText } from './order.ts';

/** Order of one of version and release, as `rpmvercmp` has it. */
function compareSegments(a: string, b: string): number {
  let [one, two] = [a, b];
  while (one !== '' || two !== '') {
    one = one.replace(/^[^A-Za-z0-9~^]+/, '');
    two = two.replace(/^[^A-Za-z0-9~^]+/, '');
    const [first, second] = [one.charAt(0), two.charAt(0)];
    if (first === '~' || second === '~') {
      if (first !== '~') return 1;
      if (second !== '~') return -1;
      [one, two] = [one.slice(1), two.slice(1)];
      continue;
    }
    if (first === '^' || second === '^') {
      // A snapshot after a release: newer than the release, older than whatever follows it.
      if (one === '') return -1;
      if (two === '') return 1;
      if (first !== '^') return 1;
      if (second !== '^') return -1;
      [one, two] = [one.slice(1), two.slice(1)];
      continue;
    }
    if (one === '' || two === '') break;
    const isNumber = /[0-9]/.test(first);
    const pattern = isNumber ? /^[0-9]+/ : /^[A-Za-z]+/;
    const left = pattern.exec(one)?.[0] ?? '';
    const right = pattern.exec(two)?.[0];
    if (right === undefined) return isNumber ? 1 : -1;
    const order = isNumber ? compareDigits(left, right) : compareText(left, right);
    if (order !== 0) return order;
    [one, two] = [one.slice(left.length), two.slice(right.length)];
  }
  return one === two ? 0 : one === '' ? -1 : 1;
}

const EVR = /^(?:([0-9]*):)?([^:-]+)(?:-([^:-]+))?$/;

/** Order of `[epoch:]version[-release]` of RPM packages; without an epoch it is 0. */
export const compareRpm: Compare = (a, b) => {
  const [one, two] = [EVR.exec(a.trim()), EVR.exec(b.trim())];
  if (!one || !two) return undefined;
  const [, epoch = '', version = '', release = ''] = one;
  const [, otherEpoch = '', otherVersion = '', otherRelease = ''] = two;
  return compareDigits(epoch, otherEpoch) || compareSegments(version, otherVersion) || compareSegments(release, otherRelease);
};
