import { compare as comparePep, valid as isPep } from '@renovatebot/pep440';
import { gt, valid as isRuby, lt } from '@renovatebot/ruby-semver';
import { compare, parse } from 'semver';
import { type Compare, compareDigits, compareLists, compareText } from './order.ts';

/** Longest text that the libraries are given: their patterns are made for versions, not for what somebody plants. */
const LONGEST = 256;

/** Order of semver 2.0.0, with what npm lets pass (`v1.2.3`, `1.2.3beta`); build metadata does not count. */
export const compareSemver: Compare = (a, b) => {
  const [one, two] = [semverOf(a), semverOf(b)];
  return one && two ? compare(one, two) : undefined;
};

/** Also versions with fewer than three numbers, as OSV's events have them. */
function semverOf(text: string) {
  const trimmed = text.trim();
  if (trimmed.length > LONGEST) return null;
  const short = /^[v=]*([0-9]+)(?:\.([0-9]+))?(?=$|[-+])/.exec(trimmed);
  const full = short ? `${short[1]}.${short[2] ?? '0'}.0${trimmed.slice(short[0].length)}` : trimmed;
  return parse(full, { loose: true });
}

/** Order of Go's modules and of the toolchain: `v1.2.3`, pseudo-versions, `+incompatible`, `go1.21rc2`. */
export const compareGo: Compare = (a, b) => compareSemver(goVersion(a), goVersion(b));

function goVersion(text: string): string {
  const bare = text.trim().replace(/^(?:go|v)/, '');
  // The toolchain's own: 1.21rc2, 1.20beta1, and vendors' words behind a space or hyphen-X.
  const toolchain = /^([0-9]+\.[0-9]+(?:\.[0-9]+)?)(rc|beta)([0-9]+)/.exec(bare);
  if (toolchain) {
    const [, release = '', word, number] = toolchain;
    return `${release.split('.').length < 3 ? `${release}.0` : release}-${word}.${number}`;
  }
  return bare.replace(/\s.*$/s, '').replace(/^([0-9.]+)-X:.*$/, '$1');
}

/** Order of PEP 440; what older tools let pass as a version has none. */
export const comparePypi: Compare = (a, b) => {
  const [one, two] = [a.trim(), b.trim()];
  if (one.length > LONGEST || two.length > LONGEST || !isPep(one) || !isPep(two)) return undefined;
  const [[left = '', leftLocal], [right = '', rightLocal]] = [one.split('+'), two.split('+')];
  // The library takes parts such as 0b1 of a local version for numbers.
  return comparePep(left, right) || compareLists(localOf(leftLocal), localOf(rightLocal), compareLocal);
};

function localOf(text: string | undefined): readonly string[] {
  return text === undefined ? [] : text.toLowerCase().split(/[-_.]/);
}

/** Numbers are newer than words, and anything is newer than nothing. */
function compareLocal(a: string | undefined, b: string | undefined): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
  const [isNumber, isOther] = [/^[0-9]+$/.test(a), /^[0-9]+$/.test(b)];
  if (isNumber !== isOther) return isNumber ? 1 : -1;
  return isNumber ? compareDigits(a, b) : compareText(a, b);
}

const PLATFORM = /-(?:x86|x64|i[3-6]86|amd64|arm|aarch|universal|java|jruby|mswin|mingw|darwin|linux|ruby|truffleruby|powerpc|s390).*$/;

/** Order of RubyGems, without the platform that a gem's file name ends in. */
export const compareGem: Compare = (a, b) => {
  const [one, two] = [a.trim().replace(PLATFORM, ''), b.trim().replace(PLATFORM, '')];
  if (one.length > LONGEST || two.length > LONGEST || !isRuby(one) || !isRuby(two)) return undefined;
  return lt(one, two) ? -1 : gt(one, two) ? 1 : 0;
};
