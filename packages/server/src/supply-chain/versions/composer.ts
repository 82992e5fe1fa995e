import { type Compare, compareDigits } from './order.ts';

const MODIFIER = '[._-]?(?:(stable|beta|b|rc|alpha|a|patch|pl|p)((?:[.-]?\\d+)*)?)?([.-]?dev)?';
const CLASSIC = new RegExp(`^v?(\\d{1,5})(\\.\\d+)?(\\.\\d+)?(\\.\\d+)?${MODIFIER}$`, 'i');
const DATED = new RegExp(`^v?(\\d{4}(?:[.:-]?\\d{2}){1,6}(?:[.:-]?\\d{1,3}){0,2})${MODIFIER}$`, 'i');
const BRANCH = /^v?(\d+)(\.(?:\d+|[x*]))?(\.(?:\d+|[x*]))?(\.(?:\d+|[x*]))?[.-]?dev$/i;
const STABILITY: Readonly<Record<string, string>> = { a: 'alpha', b: 'beta', p: 'patch', pl: 'patch', rc: 'RC' };

/** Longest text that is looked at: the patterns above need a bound. */
const LONGEST = 200;

/** A version as Composer writes it for comparison; undefined where it is none, or a branch, which has no order. */
function normalize(text: string): string | undefined {
  if (text.length > LONGEST) return undefined;
  let version = text.trim().replace(/@(?:stable|RC|beta|alpha|dev)$/i, '');
  version = /^([^,\s+]+)\+\S+$/.exec(version)?.[1] ?? version;
  const classic = CLASSIC.exec(version);
  const dated = classic ? null : DATED.exec(version);
  if (classic) {
    const [, major = '', minor, patch, fourth, word, number, dev] = classic;
    return `${major}${minor ?? '.0'}${patch ?? '.0'}${fourth ?? '.0'}${modifier(word, number, dev)}`;
  }
  if (dated) {
    const [, date = '', word, number, dev] = dated;
    return `${date.replace(/\D/g, '.')}${modifier(word, number, dev)}`;
  }
  const branch = BRANCH.exec(version);
  if (!branch) return undefined;
  const parts = [1, 2, 3, 4].map((i) => branch[i] ?? '.x');
  return `${parts.join('').replace(/[xX*]/g, '9999999')}-dev`;
}

function modifier(word: string | undefined, number: string | undefined, dev: string | undefined): string {
  if (word?.toLowerCase() === 'stable') return '';
  const name = word?.toLowerCase();
  const stability = name === undefined ? '' : `-${STABILITY[name] ?? name}${(number ?? '').replace(/^[.-]+/, '')}`;
  return `${stability}${dev === undefined || dev === '' ? '' : '-dev'}`;
}

/** Words of PHP's version_compare in their order; all others stand before them, numbers between `rc` and `pl`. */
const FORMS: readonly (readonly [string, number])[] = [
  ['dev', 0],
  ['alpha', 1],
  ['a', 1],
  ['beta', 2],
  ['b', 2],
  ['RC', 3],
  ['rc', 3],
  ['#', 4],
  ['pl', 5],
  ['p', 5],
];

/** By the beginning: `patch` counts as `p`. */
function formOf(word: string): number {
  return FORMS.find(([form]) => word.startsWith(form))?.[1] ?? -1;
}

/** PHP's version_compare on canonical versions: parts by dots, digits and letters apart. */
function comparePhp(a: string, b: string): number {
  const parts = (text: string) =>
    text
      .replace(/[-_+]/g, '.')
      .replace(/(\d)(?=[^\d.])/g, '$1.')
      .replace(/([^\d.])(?=\d)/g, '$1.')
      .split('.')
      .filter((part) => part !== '');
  const [one, two] = [parts(a), parts(b)];
  for (let i = 0; i < one.length && i < two.length; i++) {
    const [left = '', right = ''] = [one[i], two[i]];
    const [isNumber, isOther] = [/^\d/.test(left), /^\d/.test(right)];
    const order = isNumber && isOther ? compareDigits(left, right) : formOf(isNumber ? '#N#' : left) - formOf(isOther ? '#N#' : right);
    if (order !== 0) return order;
  }
  const rest = one.length > two.length ? one[two.length] : two[one.length];
  if (rest === undefined) return 0;
  const more = /^\d/.test(rest) ? 1 : comparePhp(rest, '#N#');
  return one.length > two.length ? more : -more;
}

/** Order of versions of Composer packages; branches (`dev-…`) have none. */
export const compareComposer: Compare = (a, b) => {
  const [one, two] = [normalize(a), normalize(b)];
  if (one === undefined || two === undefined) return undefined;
  return one === two ? 0 : comparePhp(one, two);
};
